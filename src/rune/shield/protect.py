"""`protect`: a function becomes a guarded tool and keeps its signature and its kind.

Of a stream each item is scanned before it is passed on, together with the end of what went before, so that
an attack in pieces is seen when its last piece arrives.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import partial, wraps
from typing import Any, Protocol, TypeVar, cast

from rune.policy.values import leaves, plain_arguments
from rune.shield.asyncs import in_thread
from rune.shield.faults import our_fault
from rune.shield.guard import Kind
from rune.shield.results import PolicyDecision, ScanResult

F = TypeVar("F", bound=Callable[..., Any])
TAIL = 1_000
"""Characters of a stream that are scanned again with the next item."""


class Judge(Protocol):
    """What is asked of a Shield here."""

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
        """The result, or what is left of it after redaction."""
        text = _read(result) if self.scans_result else ""
        if not text:
            return result
        return self._passed(result, self._scan(text))

    async def aafter(self, result: Any) -> Any:  # noqa: ANN401 - whatever the function returns
        """As `after`, beside the loop."""
        text = _read(result) if self.scans_result else ""
        if not text:
            return result
        return self._passed(result, await in_thread(lambda: self._scan(text)))

    def _scan(self, text: str) -> ScanResult:
        return self.shield.scan("tool_result", text, {**self.context, "tool": self.tool})

    def _passed(self, result: Any, found: ScanResult) -> Any:  # noqa: ANN401 - as it came
        self.shield.enforce(found)
        redacted = found.sanitized_content
        return redacted if isinstance(result, str) and redacted is not None else result


class _Stream:
    """The end of what a stream has passed on, and its worst result so far, which is reported at the end."""

    def __init__(self, guarded: _Guarded) -> None:
        self._guarded = guarded
        self._context = {**guarded.context, "tool": guarded.tool}
        self._tail = ""
        self._worst: tuple[str, ScanResult] | None = None

    def see(self, item: Any) -> None:  # noqa: ANN401 - whatever the function yields
        """Scans an item; may raise ShieldBlockedError."""
        text = _read(item) if self._guarded.scans_result else ""
        if not text:
            return
        whole = self._tail + text
        self._tail = whole[-TAIL:]
        found = self._guarded.shield.scan("tool_result", whole, self._context, report=False)
        if self._worst is None or (found.blocked, found.risk_score) > self._rank():
            self._worst = (whole, found)
        if found.blocked:
            self._guarded.shield.enforce(found)

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
        return guarded.after(function(*args, **kwargs))

    return call


def _coroutine(guarded: _Guarded, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
        await guarded.abefore(args, kwargs)
        return await guarded.aafter(await function(*args, **kwargs))

    return call


def _generator(guarded: _Guarded, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - as above
        guarded.before(args, kwargs)
        stream, inner = _Stream(guarded), function(*args, **kwargs)
        try:
            return (yield from _passing(stream, inner))
        finally:
            inner.close()
            stream.end()

    return call


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


def _async_generator(guarded: _Guarded, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401 - as above
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


def _read(value: Any) -> str:  # noqa: ANN401 - whatever a tool returns
    """Every text in a value, at any depth."""
    if isinstance(value, str):
        return value
    texts: list[str] = []
    with our_fault("reading a result"):
        texts = [leaf.value for leaf in leaves(plain_arguments({"": value})) if isinstance(leaf.value, str)]
    return "\n".join(texts)
