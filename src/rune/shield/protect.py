"""`protect`: a function becomes a guarded tool and keeps its signature and its kind.

Of a stream each item is scanned before it is passed on, together with the end of what went before, so that
an attack in pieces is seen when its last piece arrives.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from functools import partial, wraps
from typing import Any, Protocol, TypeVar, cast

import msgspec

from rune.policy.values import texts
from rune.shield.asyncs import in_thread
from rune.shield.faults import our_fault
from rune.shield.guard import UNFINISHED, Kind
from rune.shield.options import ShieldConfig
from rune.shield.results import PolicyDecision, ScanResult

F = TypeVar("F", bound=Callable[..., Any])
TAIL = 1_000
"""Characters of a stream that are scanned again with the next item."""
UNREDACTABLE = "a policy asks for redaction, and only a text that is returned whole can be redacted"


class Judge(Protocol):
    """What is asked of a Shield here."""

    config: ShieldConfig

    def validate_action(
        self, tool: str, arguments: object, context: Mapping[str, Any], *, scan_arguments: bool
    ) -> PolicyDecision: ...

    async def avalidate_action(
        self, tool: str, arguments: object, context: Mapping[str, Any], *, scan_arguments: bool
    ) -> PolicyDecision: ...

    def scan(
        self, kind: Kind, content: str, context: Mapping[str, Any], *, report: bool = True
    ) -> ScanResult: ...

    def report_scan(
        self, kind: Kind, content: str, result: ScanResult, *, context: Mapping[str, Any]
    ) -> None: ...

    def enforce(self, outcome: ScanResult | PolicyDecision) -> None: ...


class _Guarded:
    """One function under a Shield: what it is called, and what is scanned."""

    def __init__(self, shield: Judge, function: Callable[..., Any], *, tool: str, agent_id: str | None,
                 scans: tuple[bool, bool]) -> None:  # fmt: skip
        self.shield = shield
        self.tool = tool
        self.context: dict[str, Any] = {"agent_id": agent_id} if agent_id else {}
        self.scans_arguments, self.scans_result = scans
        self._signature = inspect.signature(function)

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arguments by name, defaults included, without `self`; None when the call cannot be made."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return None  # the function itself says it better
        bound.apply_defaults()
        named: dict[str, Any] = {}
        for place, (name, value) in enumerate(bound.arguments.items()):
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                named |= value
            elif place or name not in {"self", "cls"}:
                named[name] = value
        return named

    def before(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Judges the call."""
        named = self.arguments(args, kwargs)
        if named is not None:
            decision = self.shield.validate_action(
                self.tool, named, self.context, scan_arguments=self.scans_arguments
            )
            self.shield.enforce(decision)

    async def abefore(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """As `before`, beside the loop."""
        named = self.arguments(args, kwargs)
        if named is not None:
            decision = await self.shield.avalidate_action(
                self.tool, named, self.context, scan_arguments=self.scans_arguments
            )
            self.shield.enforce(decision)

    def after(self, result: Any) -> Any:  # noqa: ANN401 - whatever the function returns
        """The result, or what is left of it after redaction; may raise ShieldBlockedError."""
        text = self.read(result)
        if not text:
            return result
        found = self.shield.scan("tool_result", text, {**self.context, "tool": self.tool})
        self.shield.enforce(found)
        redacted = found.sanitized_content
        if redacted is None or not isinstance(result, str):
            self.refuse_redaction(found)
            return result
        return redacted

    async def aafter(self, result: Any) -> Any:  # noqa: ANN401 - whatever the function returns
        """As `after`, beside the loop."""
        return await in_thread(lambda: self.after(result)) if self.scans_result else result

    def read(self, value: Any) -> str:  # noqa: ANN401 - whatever a tool returns
        """Every text in a value, at any depth; a value that cannot be read is what `fail_mode` says."""
        if not self.scans_result or isinstance(value, str):
            return value if self.scans_result else ""
        with our_fault("reading a result"):
            return "\n".join(texts(value))
        if self.shield.config.fail_mode == "closed":
            self.shield.enforce(ScanResult(blocked=True, explanation=UNFINISHED))
        return ""

    def refuse_redaction(self, found: ScanResult) -> None:
        """Stops what a policy wants redacted where only a text that is returned can be."""
        if not found.blocked and found.sanitized_content is not None:
            self.shield.enforce(msgspec.structs.replace(found, blocked=True, explanation=UNREDACTABLE))


class _Stream:
    """The end of what a stream has passed on, and its worst result so far, which is reported at the end."""

    def __init__(self, guarded: _Guarded) -> None:
        self._guarded = guarded
        self._context = {**guarded.context, "tool": guarded.tool}
        self._tail = ""
        self._worst: tuple[str, ScanResult] | None = None

    def see(self, item: Any) -> None:  # noqa: ANN401 - whatever the function yields
        """Scans an item; may raise ShieldBlockedError."""
        text = self._guarded.read(item)
        if not text:
            return
        whole = self._tail + text
        self._tail = whole[-TAIL:]
        found = self._guarded.shield.scan("tool_result", whole, self._context, report=False)
        if self._worst is None or (found.blocked, found.risk_score) > self._rank():
            self._worst = (whole, found)
        if found.blocked:
            self._guarded.shield.enforce(found)
        else:
            self._guarded.refuse_redaction(found)

    def end(self) -> None:
        """One event for the whole stream."""
        if self._worst is not None:
            text, result = self._worst
            self._guarded.shield.report_scan("tool_result", text, result, context=self._context)
            self._worst = None

    def _rank(self) -> tuple[bool, float]:
        return (self._worst[1].blocked, self._worst[1].risk_score) if self._worst else (False, -1.0)


def protected(
    shield: Judge, function: F, *, tool: str | None, agent_id: str | None, scans: tuple[bool, bool]
) -> F:
    """The function with a guard before and behind it."""
    name = tool or getattr(function, "__name__", type(function).__name__)
    guarded = _Guarded(shield, function, tool=name, agent_id=agent_id, scans=scans)
    if inspect.isasyncgenfunction(function):
        wrap: Callable[..., Any] = _async_generator
    elif inspect.isgeneratorfunction(function):
        wrap = _generator
    elif inspect.iscoroutinefunction(function):
        wrap = _coroutine
    else:
        wrap = _plain
    return cast("F", wraps(function)(wrap(guarded, function)))


def _plain(guarded: _Guarded, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
        guarded.before(args, kwargs)
        result = function(*args, **kwargs)
        # A lambda or a decorated function may hand out what is still to run.
        if inspect.isgenerator(result):
            return _passed_on(guarded, result)
        if inspect.isasyncgen(result):
            return _async_generator(guarded, lambda: result, is_judged=True)()
        if inspect.iscoroutine(result):
            return _awaited(guarded, result)
        return guarded.after(result)

    return call


async def _awaited(guarded: _Guarded, result: Awaitable[Any]) -> Any:  # noqa: ANN401 - as above
    return await guarded.aafter(await result)


def _coroutine(guarded: _Guarded, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
        await guarded.abefore(args, kwargs)
        return await guarded.aafter(await function(*args, **kwargs))

    return call


def _generator(guarded: _Guarded, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - as above
        guarded.before(args, kwargs)
        return (yield from _passed_on(guarded, function(*args, **kwargs)))

    return call


def _passed_on(guarded: _Guarded, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    stream = _Stream(guarded)
    try:
        return guarded.after((yield from _passing(stream, inner)))
    finally:
        inner.close()
        stream.end()


def _passing(stream: _Stream, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Passes items out, and what is sent or thrown in, as `yield from` does, with a look at each item."""
    step: Callable[[], Any] = lambda: next(inner)  # noqa: E731 - replaced below
    while True:
        try:
            item = step()
        except StopIteration as stop:
            return stop.value
        stream.see(item)
        try:
            sent = yield item
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - the inner generator decides what it means
            step = _throwing(inner, error)
        else:
            step = _sending(inner, sent)


def _sending(inner: Generator[Any, Any, Any], value: object) -> Callable[[], Any]:
    return lambda: inner.send(value)


def _throwing(inner: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: inner.throw(error)


def _async_generator(
    guarded: _Guarded, function: Callable[..., Any], *, is_judged: bool = False
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401 - as above
        if not is_judged:
            await guarded.abefore(args, kwargs)
        stream, inner = _Stream(guarded), cast("AsyncGenerator[Any, Any]", function(*args, **kwargs))
        try:
            step = inner.__anext__()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                await in_thread(partial(stream.see, item))
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - the inner generator decides what it means
                    step = inner.athrow(error)
                else:
                    step = inner.asend(sent)
        finally:
            await inner.aclose()
            stream.end()

    return call
