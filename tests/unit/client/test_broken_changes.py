"""A watch whose connection breaks inside a change of several resources, over the real handlers and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from planes import Plane, caller, plane
from rune.api import Operation
from rune.api.common import EventType
from rune.api.fields import Message
from rune.api.orchestrator import admin, following
from rune.client.client import Client
from rune.client.local import LocalTransport
from rune.client.watch import Change, Watched, follow
from rune.core.store.base import Delete
from rune.core.tokens import Token
from rune.errors import Unavailable

TOKENS = Watched(admin.list_tokens, following.watch_tokens)
USERS = Watched(admin.list_users, following.watch_users)
NAMES = ("ann", "bob", "eve")


class Breaking(LocalTransport):
    """A connection that breaks once a stream has carried so many items more."""

    left = 1_000_000

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        async with aclosing(super().stream(operation, requests, timeout=timeout)) as items:
            async for item in items:
                yield item
                self.left -= 1
                if not self.left:
                    raise Unavailable("the connection broke")


async def users(p: Plane, root: str) -> None:
    """Three users who have a grant."""
    await p.grant(root, "seer", admin.PolicyRule(resource="logs", verbs=["get"]))
    for name in NAMES:
        await p.call(admin.create_user, admin.UserCreateRequest(name=name, policies=["seer"]), by=root)


@pytest.mark.parametrize("after", [1, 2, 3, 4])
async def test_what_changes_at_once_is_told_once_wherever_the_connection_breaks(after: int) -> None:
    async with plane() as p, asyncio.timeout(10):
        root = await p.bootstrap()
        await users(p, root)
        road = Breaking(p.dispatcher, lambda: caller(root))
        async with p.following(), aclosing(follow(Client(road), USERS, admin.UserListRequest())) as changes:
            for _ in range(len(NAMES) + 1):
                await anext(changes)
            road.left = after
            ending = asyncio.ensure_future(some(changes, len(NAMES) + 1))
            await p.call(admin.delete_grant, admin.PolicyDeleteRequest(name="seer"), by=root)
            await p.call(admin.create_user, admin.UserCreateRequest(name="zoe"), by=root)
            seen = await ending
        assert [each.event for each in seen] == [*[EventType.MODIFIED] * len(NAMES), EventType.ADDED]
        assert [each.resource.name for each in seen] == [*NAMES, "zoe"]
        assert all(not each.resource.policies for each in seen[:-1])


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_what_is_deleted_at_once_is_told_once_wherever_the_connection_breaks(after: int) -> None:
    async with plane() as p, asyncio.timeout(10):
        root = await p.bootstrap()
        for _ in NAMES:
            await p.token(root, "ann")
        road = Breaking(p.dispatcher, lambda: caller(root))
        async with (
            p.following(),
            aclosing(follow(Client(road), TOKENS, admin.TokenListRequest())) as changes,
        ):
            for _ in range(len(NAMES) + 1):
                await anext(changes)
            road.left = after
            ending = asyncio.ensure_future(some(changes, len(NAMES) + 1))
            await p.store.commit(*(Delete(each.key) for each in p.store.list(Token) if each.subject == "ann"))
            await p.token(root, "bob")
            seen = await ending
        assert [each.event for each in seen] == [*[EventType.DELETED] * len(NAMES), EventType.ADDED]
        assert len({each.resource.id for each in seen}) == len(NAMES) + 1


async def some(changes: AsyncIterator[Change], count: int) -> list[Change]:
    """The next changes."""
    return [await anext(changes) for _ in range(count)]
