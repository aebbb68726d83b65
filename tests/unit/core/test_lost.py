"""The end of a principal, over the real dispatcher: open streams end with the rights they began with."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from planes import Plane, caller, plane, turn
from promises import promise
from rune.api.orchestrator import admin, auth, logs, watch
from rune.api.orchestrator.logs import LogRequest, LogResponse
from rune.core.access import NOBODY, Principal
from rune.core.auth import Identity
from rune.core.call import Call
from rune.core.clock import ManualClock, SystemClock
from rune.core.rights import KINDS, Rights
from rune.core.roles import seed
from rune.core.store.base import Delete, Put
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM, Token
from rune.errors import RuneError, Unauthenticated, Unavailable


def known(plane: Plane, text: str) -> Principal:
    """Who the token stands for."""
    return plane.identity.authenticate(caller(text))


class Streams:
    """Streams of a stub handler that yields once and then waits for ever."""

    def __init__(self, p: Plane) -> None:
        self.p = p
        self.open = 0
        self._opened = asyncio.Semaphore(0)
        p.dispatcher.handles(watch.subscribe)(self.handle)

    async def handle(self, call: Call, ask: watch.SubscribeRequest) -> AsyncIterator[watch.WatchEvent]:
        """One event; then nothing, until it is ended."""
        self.open += 1
        self._opened.release()
        try:
            yield watch.WatchEvent()
            await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def until_it_ends(self, text: str) -> RuneError:
        """Open a stream and read it to its end."""

        async def asks() -> AsyncIterator[Any]:
            yield watch.SubscribeRequest

        return await ended(self.p.dispatcher.stream(watch.subscribe, caller(text), asks()))

    async def opened(self, number: int) -> None:
        """Wait until so many are open."""
        for _ in range(number):
            await self._opened.acquire()


async def ended(items: AsyncIterator[Any]) -> RuneError:
    """What a stream that goes on for ever ends with."""
    try:
        async for _ in items:
            pass
    except RuneError as error:
        return error
    raise AssertionError("a stream that waits for ever has ended")


async def end_by(p: Plane, how: str, *, root: str, made: auth.CreateTokenResponse) -> None:
    """One of the ways in which a principal ends."""
    match how:
        case "revoked":
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
        case "token deleted":
            await p.store.commit(Delete(p.store.get(Token, SYSTEM, made.id).key))
        case "subject deleted":
            await p.store.commit(Delete(p.store.get(admin.Subject, SYSTEM, "ann").key))
        case "grant changed":
            rules = [admin.PolicyRule(resource="logs", verbs=["get"])]
            ask = admin.PolicyUpdateRequest(policy=admin.Grant(name="seer", rules=rules))
            await p.call(admin.update_grant, ask, by=root)
        case "grant deleted":
            await p.call(admin.delete_grant, admin.PolicyDeleteRequest(name="seer"), by=root)
        case _:
            ask = admin.PolicyAttachToSubjectRequest(policy_name="readwrite", subject_name="ann")
            await p.call(admin.attach_grant, ask, by=root)


@promise("auth.revoked")
@pytest.mark.parametrize(
    "how",
    ["revoked", "token deleted", "subject deleted", "grant changed", "grant deleted", "grant attached"],
)
async def test_open_streams_end_at_once_when_their_rights_are_not_what_they_were(how: str) -> None:
    async with plane() as p, asyncio.timeout(5):
        root = await p.bootstrap()
        await p.grant(root, "seer", admin.PolicyRule(resource="*", verbs=["watch"]))
        made = await p.token(root, "ann", "seer")
        streams = Streams(p)
        async with p.following() as group:
            ends = [group.create_task(streams.until_it_ends(made.secret)) for _ in range(20)]
            stays = group.create_task(streams.until_it_ends(root))
            await streams.opened(21)
            await end_by(p, how, root=root, made=made)
            for each in ends:
                assert isinstance(await each, Unauthenticated)
            assert not stays.done()
            assert streams.open == 1


async def test_a_change_that_leaves_the_rights_alone_ends_no_stream() -> None:
    async with plane() as p, asyncio.timeout(5):
        root = await p.bootstrap()
        streams = Streams(p)
        async with p.following() as group:
            stays = group.create_task(streams.until_it_ends(root))
            await streams.opened(1)
            token = p.store.list(Token, SYSTEM)[0]
            await p.store.commit(Put(msgspec.structs.replace(token, description="the first")))
            await p.token(root, "bob")
            for _ in range(10):
                await turn()
            assert not stays.done()
        assert isinstance(stays.result(), Unauthenticated)


@pytest.mark.looptime
async def test_a_stream_ends_when_its_token_expires(looptime: object) -> None:
    class LoopClock(ManualClock):
        """A clock that goes with the loop's own, virtual time."""

        def now(self) -> datetime:
            return super().now() + timedelta(seconds=asyncio.get_running_loop().time())

    async with plane(LoopClock()) as p:
        made = await p.token(await p.bootstrap(), "ann", ttl=8000)
        streams = Streams(p)
        async with p.following() as group:
            end = group.create_task(streams.until_it_ends(made.secret))
            assert isinstance(await end, Unauthenticated)
            assert looptime == 8000


async def test_who_lost_a_credential_before_asking_is_told_at_once() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        async with p.following():
            before = known(p, made.secret)
            waits = p.identity.lost(before)
            ask = admin.PolicyAttachToSubjectRequest(policy_name="readwrite", subject_name="ann")
            await p.call(admin.attach_grant, ask, by=root)
            after = known(p, made.secret)
            assert p.identity.lost(before).is_set()
            fresh = p.identity.lost(after)
            assert waits.is_set()
            assert not fresh.is_set()
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
            await asyncio.wait_for(fresh.wait(), 5)


async def test_who_asks_about_rights_of_before_takes_nothing_from_those_who_wait_with_rights_of_now() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        async with p.following():
            before = known(p, made.secret)
            ask = admin.PolicyAttachToSubjectRequest(policy_name="readwrite", subject_name="ann")
            await p.call(admin.attach_grant, ask, by=root)
            waits = p.identity.lost(known(p, made.secret))
            assert p.identity.lost(before).is_set()
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
            await asyncio.wait_for(waits.wait(), 5)


@promise("auth.revoked")
@pytest.mark.parametrize("speaks", [False, True])
async def test_who_lost_a_credential_before_saying_what_for_is_served_nothing(*, speaks: bool) -> None:
    started: list[LogRequest] = []
    said = asyncio.Event()

    async def asks() -> AsyncIterator[Any]:
        await said.wait()
        yield LogRequest

    async with plane() as p, asyncio.timeout(5):
        root = await p.bootstrap()
        made = await p.token(root, "ann")

        @p.dispatcher.handles(logs.stream)
        async def lines(
            _call: Call, ask: LogRequest, _rest: AsyncIterator[Any]
        ) -> AsyncIterator[LogResponse]:
            started.append(ask)
            yield LogResponse()

        async with p.following() as group:
            items = p.dispatcher.stream(logs.stream, caller(made.secret), asks())
            end = group.create_task(ended(items))
            await turn()
            await turn()
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
            if speaks:
                said.set()
            assert isinstance(await end, Unauthenticated)
        assert not started


async def test_nothing_is_kept_for_those_who_stopped_waiting() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        async with p.following():
            for number in range(100):
                made = await p.token(root, f"user-{number}", ttl=60)
                p.identity.lost(known(p, made.secret))
            gc.collect()
            assert p.identity.waited_for == 0


async def test_no_stream_is_served_while_nobody_watches_for_revocations() -> None:
    async with plane() as p:
        principal = known(p, await p.bootstrap())
        with pytest.raises(Unavailable):
            p.identity.lost(principal)
        assert not p.identity.lost(NOBODY).is_set()


async def test_identity_that_fell_behind_the_store_looks_at_everything_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SystemClock()
    async with MemoryStore(KINDS, history=1) as store:
        await seed(store, clock)
        identity, rights = Identity(store, clock), Rights(store, clock)
        token, text = await rights.bootstrap()
        async with asyncio.TaskGroup() as group, asyncio.timeout(5):
            follower = group.create_task(identity.follow())
            await turn()
            end = identity.lost(identity.authenticate(caller(text)))
            with caplog.at_level(logging.WARNING):
                revoke = group.create_task(rights.revoke_token(token.id, force=True))
                storm = [group.create_task(store.commit(Put(admin.Subject(name=f"s{n}")))) for n in range(9)]
                await asyncio.gather(revoke, *storm)
                await end.wait()
            assert "fell behind" in caplog.text
            follower.cancel()


async def test_following_ends_with_the_store() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        async with asyncio.TaskGroup() as group:
            group.create_task(p.identity.follow())
            await turn()
            end = p.identity.lost(known(p, root))
            await p.store.close()
        assert end.is_set()
