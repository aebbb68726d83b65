"""Notices: which kinds changed, and nothing of what they hold."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from planes import plane, turn
from rune.api.orchestrator import admin
from rune.core.notices import notices


async def test_a_change_is_told_by_its_kinds_alone() -> None:
    async with plane() as p, aclosing(notices(p.store)) as told, asyncio.TaskGroup() as group:
        root = await p.bootstrap()

        async def first() -> frozenset[str]:
            return await anext(told)

        step = group.create_task(first())
        await turn()
        await p.call(admin.create_user, admin.UserCreateRequest(name="ann"), by=root)
        assert "subject" in await step
