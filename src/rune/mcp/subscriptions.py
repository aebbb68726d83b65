"""Subscriptions to resources: one watch for each, for as long as the session or the listening request
lasts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPError

from rune.api import Operation
from rune.api.fields import Message
from rune.client.client import Client
from rune.errors import RuneError
from rune.mcp.changes import changes

logger = logging.getLogger(__name__)

MOST = 32
"""Subscriptions of one session: each is a stream of its subject."""
Ctx = ServerRequestContext[Any, Any]
Notify = Callable[[], Awaitable[None]]
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, MCPError)


class Subject:
    """What is subscribed to: how to read it, and with whose rights."""

    def __init__(self, client: Client, operation: Operation[Any, Any], request: Message) -> None:
        self.client, self.operation, self.request = client, operation, request

    async def tell(self, notify: Notify) -> None:
        """Notifies of every change, until nobody can be told or the subject may not be read any more."""
        try:
            async for _ in changes(self.client, self.operation, self.request):
                await notify()
        except RuneError as error:
            logger.info(
                "a subscription ended", extra={"operation": self.operation.name, "reason": error.message}
            )
        except _GONE:
            logger.debug("a subscriber is gone", extra={"operation": self.operation.name})


class Subscriptions:
    """Those of one session, by address."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @classmethod
    def of(cls, ctx: Ctx) -> Subscriptions:
        """The session's own, which end with it."""
        connection = ctx.session._connection  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the SDK gives handlers no other way to it
        found = connection.state.get(__name__)
        if not isinstance(found, cls):
            found = connection.state[__name__] = cls()
            connection.exit_stack.push_async_callback(found.close)
        return found

    def add(self, uri: str, subject: Subject, notify: Notify) -> None:
        """Begins one; a second for the same address changes nothing. Raises MCPError for one too many."""
        if uri in self._tasks and not self._tasks[uri].done():
            return
        if sum(not task.done() for task in self._tasks.values()) >= MOST:
            raise MCPError(types.INVALID_REQUEST, f"a session has at most {MOST} subscriptions")
        # Its own task: it outlives the request that began it, and `close` awaits it.
        self._tasks[uri] = asyncio.ensure_future(subject.tell(notify))

    async def remove(self, uri: str) -> None:
        """Ends one; there need be none."""
        task = self._tasks.pop(uri, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Ends all."""
        for uri in list(self._tasks):
            await self.remove(uri)


async def listen(
    ctx: Ctx, params: types.SubscriptionsListenRequestParams, subjects: dict[str, Subject]
) -> types.SubscriptionsListenResult:
    """Serves one listening request of the newer protocol; its stream is the request's answer."""
    if len(subjects) > MOST:
        raise MCPError(types.INVALID_REQUEST, f"a request listens to at most {MOST} resources")
    bus = InMemorySubscriptionBus()

    def notify(uri: str) -> Notify:
        return lambda: bus.publish(ResourceUpdated(uri))

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(subject.tell(notify(uri))) for uri, subject in subjects.items()]
        try:
            return await ListenHandler(bus)(ctx, params)
        finally:
            for task in running:
                task.cancel()
