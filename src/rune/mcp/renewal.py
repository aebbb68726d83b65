"""Renewal: a session's token is traded for the next one while `rune-mcp` serves, and kept in its context.

The command line does the same with the same file; whoever is first trades, the other takes what it finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from rune.api.fields import Message
from rune.api.operation import Operation
from rune.client.client import Transport
from rune.client.contexts import load, save
from rune.client.renewal import is_short, traded
from rune.core.clock import Clock

Connect = Callable[[str], Transport]
"""A transport with this token; with none where it is empty."""


class _Line:
    """A transport, ended once it is replaced and nobody uses it any more."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.users = 0
        self.is_replaced = False

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[Transport]:
        """The transport, kept open for as long as the block lasts."""
        self.users += 1
        try:
            yield self.transport
        finally:
            self.users -= 1
            await self.end_if_idle()

    async def end_if_idle(self) -> None:
        """Streams that began with an older token go on as long as the session does."""
        if self.is_replaced and not self.users:
            await self.transport.close()


class Renewing:
    """The transport of a context's session. Raises Unauthenticated, with the remedy, once that is over."""

    def __init__(self, path: str, name: str, *, connect: Connect, clock: Clock) -> None:
        self._path, self._name, self._connect, self._clock = path, name, connect, clock
        self._context = load(path).chosen(name)
        self._line = _Line(connect(self._context.token))
        self._turn = asyncio.Lock()

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        async with (await self._current()).used() as transport:
            return await transport.unary(operation, request, timeout=timeout)

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        async with (
            (await self._current()).used() as transport,
            aclosing(transport.stream(operation, requests, timeout=timeout)) as answers,
        ):
            async for answer in answers:
                yield answer

    async def close(self) -> None:
        """End the newest transport; those before it end with their streams."""
        await self._line.transport.close()

    async def _current(self) -> _Line:
        async with self._turn:
            if is_short(self._context, self._now):
                await self._renew()
            return self._line

    @property
    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _renew(self) -> None:
        found = load(self._path).chosen(self._name)
        if is_short(found, self._now):
            found = await traded(found, lambda: self._connect(""))
            every = load(self._path)
            save(self._path, every.having(self._name or every.current, found))
        before, self._context = self._line, found
        self._line, before.is_replaced = _Line(self._connect(found.token)), True
        await before.end_if_idle()
