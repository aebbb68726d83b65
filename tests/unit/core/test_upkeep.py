"""Upkeep: last uses are written rarely, old tokens go, and a full disk stops neither."""

from __future__ import annotations

import asyncio
import logging

import pytest

from planes import caller, plane, turn
from rune.api.orchestrator import auth
from rune.core.clock import ManualClock
from rune.core.tokens import SYSTEM, Token
from rune.core.upkeep import KEPT, keep, tidy
from rune.errors import Unavailable


async def test_a_thousand_uses_are_one_write() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        revision = p.store.revision
        for _ in range(1000):
            p.identity.authenticate(caller(root))
        await tidy(p.store, p.identity, clock)
        await tidy(p.store, p.identity, clock)
        assert p.store.revision == revision + 1
        assert p.store.list(Token, SYSTEM)[0].last_used_at == clock.now()


async def test_noting_a_use_ends_no_stream() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        async with p.following():
            end = p.identity.lost(p.identity.authenticate(caller(root)))
            await tidy(p.store, p.identity, clock)
            await turn()
            assert not end.is_set()


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_tokens_that_are_no_good_are_kept_for_a_month_and_then_go(how: str) -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann", ttl=1 if how == "expired" else 0)
        if how == "revoked":
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
        clock.advance(KEPT.total_seconds() - 1)
        await tidy(p.store, p.identity, clock)
        assert p.store.find(Token, SYSTEM, made.id) is not None
        clock.advance(5)
        await tidy(p.store, p.identity, clock)
        assert p.store.find(Token, SYSTEM, made.id) is None
        assert p.store.find(Token, SYSTEM, root[:36]) is not None


async def test_a_use_does_not_bring_a_deleted_token_back() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann", ttl=1)
        p.identity.authenticate(caller(made.secret))
        clock.advance(KEPT.total_seconds() + 10)
        await tidy(p.store, p.identity, clock)
        await tidy(p.store, p.identity, clock)
        assert p.store.find(Token, SYSTEM, made.id) is None


@pytest.mark.looptime
async def test_a_round_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    rounds: list[int] = []
    async with plane(clock) as p:

        async def full(*writes: object, operation: str = "") -> int:
            rounds.append(len(writes))
            raise Unavailable("the disk is full")

        root = await p.bootstrap()
        p.identity.authenticate(caller(root))
        monkeypatch.setattr(p.store, "commit", full)
        with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError):
            async with asyncio.timeout(130):
                await keep(p.store, p.identity, clock)
        assert rounds == [1, 1]
        assert "tokens were not tidied" in caplog.text
