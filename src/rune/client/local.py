"""The transport without a wire: straight into a dispatcher of this process, for tests and embedding."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol

from rune.api.fields import Message
from rune.api.operation import Operation
from rune.errors import DeadlineExceeded

Ask = Callable[[], Any]


class Dispatch(Protocol):
    """What is needed of a dispatcher (`rune.core.dispatch.Dispatcher` has it)."""

    async def call(self, operation: Operation[Any, Any], caller: Any, ask: Ask) -> Any:  # noqa: ANN401 - the dispatcher's own type of caller
        """One request, one answer."""
        ...

    def stream(
        self,
        operation: Operation[Any, Any],
        caller: Any,  # noqa: ANN401 - as call
        asks: AsyncIterator[Ask],
    ) -> AsyncIterator[Any]:
        """Many answers."""
        ...


class LocalTransport:
    """Calls the dispatcher, as the caller that `caller` makes for each call."""

    def __init__(self, dispatch: Dispatch, caller: Callable[[], Any]) -> None:
        self._dispatch, self._caller = dispatch, caller

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        try:
            async with asyncio.timeout(timeout):
                return await self._dispatch.call(operation, self._caller(), lambda: request)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{operation.name} took longer than {timeout:g} s") from error

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        answers = self._dispatch.stream(operation, self._caller(), _asks(requests))
        try:
            async with asyncio.timeout(timeout), aclosing(_generator(answers)) as items:
                async for item in items:
                    yield item
        except TimeoutError as error:
            raise DeadlineExceeded(f"{operation.name} took longer than {timeout:g} s") from error

    async def close(self) -> None:
        """There is nothing to end."""


async def _asks(requests: AsyncIterator[Message]) -> AsyncGenerator[Ask]:
    async for request in requests:
        yield lambda request=request: request


async def _generator(items: AsyncIterator[Message]) -> AsyncGenerator[Message]:
    async for item in items:
        yield item
