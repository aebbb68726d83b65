"""The one road: every call of every edge is authenticated, limited, authorized, validated and audited."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol, TypeVar, cast

import msgspec

from rune.api import Access, Effect, Operation, Streaming
from rune.api.fields import Message
from rune.api.validate import refuse_unsupported
from rune.core.access import ANY, USE, Principal, space
from rune.core.apikeys import KEY, WRITE
from rune.core.call import DEED, Call, Caller, Deed
from rune.core.clock import Clock
from rune.core.limits import Level, OpenStreams
from rune.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RuneError,
    Unauthenticated,
    Unimplemented,
    Violation,
)

logger = logging.getLogger(__name__)

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[..., Any]
Ask = Callable[[], Message]
"""Gives the request. Edges decode inside it, so that nobody unknown gets a body decoded."""

LONGEST_NAME = 63
LOCAL_ONLY = "admin operations are allowed only from localhost unless auth.allow_remote_admin is true"

UNTOLD = (Effect.READ, Effect.RECORD)
"""Effects that the audit log is not told of, unless the caller was refused."""


class Identity(Protocol):
    """Turns a credential into a principal."""

    def authenticate(self, caller: Caller) -> Principal:
        """Who it is; raises Unauthenticated, or ResourceExhausted after too many failures from an address."""
        ...

    def lost(self, principal: Principal) -> asyncio.Event:
        """Set once the principal's credential is revoked, has expired or means other rights than before."""
        ...


class Limits(Protocol):
    """Counts calls."""

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> Level | None:
        """Count one, or something that weighs more; raises ResourceExhausted when there is not so much left.

        A weight of 0 counts nothing and raises when nothing is left.
        """
        ...


class Audit(Protocol):
    """Keeps who did what."""

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        """Keep it durably; `ask` is None when the request was never read."""
        ...


class Meter(Protocol):
    """Is told of every call."""

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None:
        """One call ended: `ok` or the name of a failure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What stands along the road."""

    identity: Identity
    limits: Limits
    audit: Audit
    meter: Meter
    clock: Clock
    allow_remote_admin: bool = False
    open_streams: OpenStreams = field(default_factory=OpenStreams)
    is_organization: Callable[[str], bool] = lambda _: False
    """There is an organization of that name."""


class Dispatcher:
    """Takes an operation, a caller and a request to the operation's handler, or says why not."""

    def __init__(self, guards: Guards) -> None:
        self._guards = guards
        self._handlers: dict[str, Handler] = {}

    def handles(self, operation: Operation[Any, Any]) -> Callable[[F], F]:
        """Register the handler: `async def (call, ask)`, an async generator where it streams.

        One that streams both ways gets a third argument: the requests after the first.
        """

        def register(handler: F) -> F:
            if operation.name in self._handlers:
                raise ValueError(f"{operation.name} has a handler already")
            if operation.streams is not inspect.isasyncgenfunction(handler):
                raise TypeError(f"the handler of {operation.name} has the wrong form: it yields, or does not")
            self._handlers[operation.name] = handler
            return handler

        return register

    def limited(self, limits: Limits) -> Dispatcher:
        """The same handlers and guards, with limits of its own."""
        other = Dispatcher(replace(self._guards, limits=limits))
        other._handlers = self._handlers
        return other

    @property
    def handled(self) -> frozenset[str]:
        """The names of the operations that have a handler."""
        return frozenset(self._handlers)

    async def call(self, operation: Operation[In, Out], caller: Caller, ask: Callable[[], In]) -> Out:
        """One request, one answer. Raises RuneError and nothing else."""
        trip = _Trip(self._guards, operation, caller)
        try:
            request = trip.admit(ask)
            with nullcontext() if operation.effect in UNTOLD else trip.doing(request):
                answer = await self._handler(operation)(trip.call, request)
        except Exception as error:  # noqa: BLE001 - here any failure becomes a known one
            raise await trip.failed(error) from error.__cause__
        await trip.end(None)
        return cast("Out", answer)

    async def stream(
        self, operation: Operation[In, Out], caller: Caller, asks: AsyncIterator[Callable[[], In]]
    ) -> AsyncGenerator[Out]:
        """One request, or many where the operation streams both ways; many answers.

        Ends with Unauthenticated at the moment the caller's credential is revoked. Raises RuneError
        and nothing else.
        """
        trip = _Trip(self._guards, operation, caller)
        try:
            trip.authenticate()
            with self._guards.open_streams.holding(trip.call.principal):
                lost = self._guards.identity.lost(trip.call.principal)
                async with aclosing(_until(asks, lost)) as first:  # which may be a long time in coming
                    request = trip.admit(await anext(first, _missing))
                await trip.begin()
                rest = (_requests(asks, trip),) if operation.streaming is Streaming.BOTH else ()
                items: AsyncGenerator[Out] = self._handler(operation)(trip.call, request, *rest)
                async with aclosing(items):
                    async for item in _until(items, lost):
                        yield item
        except (asyncio.CancelledError, GeneratorExit):
            trip.measure("CANCELLED")  # its reader has left
            raise
        except Exception as error:  # noqa: BLE001 - as in call
            raise await trip.failed(error) from error.__cause__
        await trip.end(None)

    def _handler(self, operation: Operation[Any, Any]) -> Handler:
        handler = self._handlers.get(operation.name)
        if handler is None:
            raise Unimplemented(
                f"{operation.method} is not supported: {operation.unsupported or 'it has no handler here'}"
            )
        return handler


class _Trip:
    """One call's way along the road, and what must be told of it at the end."""

    def __init__(self, guards: Guards, operation: Operation[Any, Any], caller: Caller) -> None:
        self.guards = guards
        self.call = Call(operation=operation, caller=caller)
        self.ask: Message | None = None
        self._known = False
        self._told = False
        self._started = guards.clock.monotonic()

    def authenticate(self) -> None:
        """Find out who it is. A second call does nothing."""
        if self._known:
            return
        operation, caller = self.call.operation, self.call.caller
        if operation.access is not Access.PUBLIC:
            principal = self._principal()
            self.call = Call(operation=operation, caller=caller, principal=principal)
        self._known = True
        if caller.organization and operation.is_security:
            self._act_in(caller.organization)
        if operation.local_only and not (caller.is_local or self.guards.allow_remote_admin):
            raise PermissionDenied(LOCAL_ONLY)
        self._take(0 if operation.counts else 1)

    def _act_in(self, organization: str) -> None:
        """From here on the caller belongs to the organization that it named, if it may.

        Who may not is told the same whether there is such an organization or not.
        """
        principal = self.call.principal
        if not principal.may_act_in(organization):
            self._take(1)
            if principal.kind == KEY:
                raise PermissionDenied("an API key acts in its own organization alone")
            where = space(organization[:LONGEST_NAME])
            raise PermissionDenied(
                f"access denied for resource: organizations verb: {USE} in namespace: {where}"
            )
        if organization != principal.organization and not self.guards.is_organization(organization):
            self._take(1)
            raise NotFound(f"there is no organization {organization[:LONGEST_NAME]!r}")
        acting = replace(principal, organization=organization)
        self.call = msgspec.structs.replace(self.call, principal=acting)

    def _principal(self) -> Principal:
        """Who it is; the agent-security plane speaks of API keys to whoever brings nothing."""
        operation, caller = self.call.operation, self.call.caller
        try:
            return self.guards.identity.authenticate(caller)
        except Unauthenticated as error:
            if operation.is_security and not caller.bearer:
                raise Unauthenticated("Invalid or missing API key") from error
            raise

    def _take(self, weight: int) -> None:
        level = self.guards.limits.take(self.call.operation, self.call.counted, weight)
        if level is not None and self.call.operation.is_security:
            self.call.caller.told.update(level.headers())

    def admit(self, ask: Ask) -> Message:
        """The request, if this caller may make it."""
        self.authenticate()
        operation = self.call.operation
        if operation.unsupported:
            raise Unimplemented(f"{operation.method} is not supported: {operation.unsupported}")
        request, namespace = scoped(operation, ask())
        self.ask = request
        self.call = Call(
            operation=operation, caller=self.call.caller, principal=self.call.principal, namespace=namespace
        )
        authorize(self.call)
        refuse_unsupported(request, operation.request)
        if operation.counts:
            self._take(len(getattr(request, operation.counts)))
        return request

    @contextmanager
    def doing(self, request: Message) -> Generator[None]:
        """While a handler makes a change the audit log may take the call down together with it."""
        deed = Deed(self.call, request)
        before = DEED.set(deed)
        try:
            yield
        finally:
            DEED.reset(before)
            self._told = deed.is_told
            deed.is_told = True  # whatever the handler left running says nothing any more

    async def begin(self) -> None:
        """A change that streams is told to the audit log at once: its end may never be seen."""
        if self.call.operation.effect not in UNTOLD:
            await self.guards.audit.record(self.call, self.ask, None)
            self._told = True

    async def failed(self, error: Exception) -> RuneError:
        """Log what nobody expected, close the call's account, and say what the caller may know."""
        failure = _known(error, self.call)
        await self.end(failure)
        return failure

    async def end(self, failure: RuneError | None) -> None:
        """Tell the meter, and the audit log if it was a change or a denial."""
        self.measure(failure.codes.name if failure else "ok")
        is_guess = isinstance(failure, ResourceExhausted) and not self._known  # one too many
        is_denial = is_guess or isinstance(failure, (Unauthenticated, PermissionDenied))
        is_news = self.call.operation.effect not in UNTOLD and (failure or not self._told)
        if is_denial or is_news:
            await self.guards.audit.record(self.call, self.ask, failure)

    def measure(self, outcome: str) -> None:
        """Tell the meter."""
        seconds = self.guards.clock.monotonic() - self._started
        self.guards.meter.observe(self.call.operation, outcome, seconds)


def scoped(operation: Operation[Any, Any], request: Message) -> tuple[Message, str]:
    """The request with its namespace spelled out, and that namespace."""
    scope = operation.scope
    if scope in ("", ANY):
        return request, scope
    outer, _, inner = scope.rpartition(".")
    holder = getattr(request, outer) if outer else request
    if holder is None and operation.streaming is Streaming.BOTH:
        raise InvalidArgument(f"first request must be an {outer} request")
    if holder is None:
        raise InvalidArgument.of([Violation(outer, "is required")])
    namespace = getattr(holder, inner)
    if namespace:
        return request, namespace
    holder = msgspec.structs.replace(holder, **{inner: "default"})
    return (msgspec.structs.replace(request, **{outer: holder}) if outer else holder), "default"


def authorize(call: Call) -> None:
    """Raise PermissionDenied unless a rule of the principal covers the call."""
    operation, principal = call.operation, call.principal
    if principal.kind == KEY and not operation.is_security:
        raise PermissionDenied("an API key is good for the agent-security plane alone: bring a token")
    if operation.access is not Access.GRANTED:
        return
    resource, verb = operation.resource, operation.verb
    where = call.namespace
    if operation.is_security and resource != "organizations":
        where = space(principal.organization)
    if call.namespace == ANY:
        allowed = principal.may_somewhere(resource, verb)
    else:
        allowed = principal.may(resource, verb, where or ANY)
    if not allowed:
        if operation.is_security and principal.kind == KEY:
            raise PermissionDenied(f"API key lacks required permission: {resource}:{_needed(verb)}")
        where = f" in namespace: {call.namespace}" if call.namespace not in ("", ANY) else ""
        raise PermissionDenied(f"access denied for resource: {resource} verb: {verb}{where}")


def _needed(verb: str) -> str:
    """What a key's permission calls the verb."""
    return "write" if verb in WRITE else verb


def _missing() -> NoReturn:
    raise InvalidArgument("the stream ended before its first request")


async def _requests(asks: AsyncIterator[Ask], trip: _Trip) -> AsyncIterator[Message]:
    """The requests after the first; they speak of the namespace that was authorized, or are refused."""
    outer, _, inner = (trip.call.operation.scope).rpartition(".")
    async for ask in asks:
        request = ask()
        refuse_unsupported(request)
        holder = getattr(request, outer) if outer else request
        named = getattr(holder, inner, "")
        if named and named != trip.call.namespace:
            raise InvalidArgument(f"the stream is about namespace {trip.call.namespace!r}, not {named!r}")
        yield request


async def _until(items: AsyncIterator[T], lost: asyncio.Event) -> AsyncGenerator[T]:
    """The items, until the credential is lost; none is asked for once it is."""
    end = asyncio.ensure_future(lost.wait())  # ended below, whatever happens
    step: asyncio.Future[T] | None = None
    try:
        while not lost.is_set():
            step = asyncio.ensure_future(anext(items))
            await asyncio.wait((step, end), return_when=asyncio.FIRST_COMPLETED)
            if lost.is_set():
                break
            try:
                item = step.result()
            except StopAsyncIteration:
                return
            yield item
        raise Unauthenticated("the credential was revoked or has expired")
    finally:
        end.cancel()
        if step is not None:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)


def _known(error: Exception, call: Call) -> RuneError:
    if isinstance(error, RuneError):
        return error
    request_id = call.caller.request_id
    facts = {"operation": call.operation.name, "request_id": request_id}
    logger.error("a handler failed", extra=facts, exc_info=error)
    return Internal(f"internal error; the server's log has it under request id {request_id}")
