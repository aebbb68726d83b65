"""Client: asks for operations by their row of the table, whatever carries the question."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Protocol, Self, TypeVar, cast, runtime_checkable

from rune.api.fields import Message
from rune.api.operation import Operation

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

CALL_SECONDS = 30.0
"""How long a call may take unless it is told otherwise."""


def credential(token: str, organization: str = "") -> dict[str, str]:
    """The headers that carry a token, or an API key where it is one, and the organization to act in."""
    where = {"x-rune-organization": organization} if organization else {}
    if token.startswith(("rune_live_", "rune_test_")):
        return {"x-rune-key": token, **where}
    return {"authorization": f"Bearer {token}", **where} if token else where


class Transport(Protocol):
    """Carries requests and answers.

    Whatever fails is raised as the RuneError that the server raised, or as Unavailable and DeadlineExceeded
    for what happened on the way.
    """

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        """One request, one answer."""
        ...

    def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        """One request (or many, where the operation streams both ways), many answers."""
        ...

    async def close(self) -> None:
        """End what is open."""
        ...


@runtime_checkable
class HasNow(Protocol):
    """A transport that can also be asked without an event loop."""

    def unary_now(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        """One request, one answer, in the thread that asks."""
        ...


@runtime_checkable
class HasBegin(Protocol):
    """A transport that can send before there is an event loop in which the answer is awaited."""

    def begin(
        self, operation: Operation[Any, Any], request: Message, *, timeout: float
    ) -> Callable[[], Awaitable[Message]]:
        """Send the request now; what this returns is called once, and gives the answer."""
        ...


class Client:
    """Calls operations. Use it as `async with Client(transport) as client`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    def begin(
        self, operation: Operation[In, Out], request: In, *, timeout: float = CALL_SECONDS
    ) -> Callable[[], Awaitable[Out]]:
        """As `call`, but the request is on its way at once where the transport has a way for that."""
        if not isinstance(self._transport, HasBegin):
            return partial(self.call, operation, request, timeout=timeout)
        return cast(
            "Callable[[], Awaitable[Out]]", self._transport.begin(operation, request, timeout=timeout)
        )

    async def call(self, operation: Operation[In, Out], request: In, *, timeout: float = CALL_SECONDS) -> Out:
        """The answer; `timeout` is in seconds, after which DeadlineExceeded is raised."""
        if operation.streams:
            raise TypeError(f"{operation.name} answers with a stream: use stream()")
        return cast("Out", await self._transport.unary(operation, request, timeout=timeout))

    def stream(
        self,
        operation: Operation[In, Out],
        request: In,
        more: AsyncIterator[In] | None = None,
        *,
        timeout: float | None = None,
    ) -> AsyncGenerator[Out]:
        """The answers as they come; close it (`contextlib.aclosing`) to end the call before its end.

        `more` are the requests after the first; the end of it tells the server that nothing else comes.
        """
        if not operation.streams:
            raise TypeError(f"{operation.name} has one answer: use call()")
        found = self._transport.stream(operation, _requests(request, more), timeout=timeout)
        return cast("AsyncGenerator[Out]", found)


async def _requests(first: In, more: AsyncIterator[In] | None) -> AsyncGenerator[In]:
    yield first
    if more is not None:
        async for request in more:
            yield request
