"""A small control plane in memory for tests: a store with the built-in grants, and the real road to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from argon2 import PasswordHasher

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import admin, auth
from rune.core.auth import Identity
from rune.core.call import Call, Caller
from rune.core.clock import Clock, ManualClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.limits import Limits
from rune.core.logins import Ground, Logins
from rune.core.passwords import Hashes
from rune.core.rights import KINDS, Rights
from rune.core.roles import seed
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM
from rune.errors import RuneError
from rune.orchestrator import sessions
from rune.orchestrator.admin import register

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)


QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""Far too cheap for anything but a test."""


class Heard:
    """An audit log and a meter that remember what they were told."""

    def __init__(self) -> None:
        self.records: list[tuple[Call, Message | None, RuneError | None]] = []

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        self.records.append((call, ask, outcome))

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None:
        """Nothing here measures."""


@dataclass
class Plane:
    """The parts, and a way to call it as somebody."""

    store: MemoryStore
    clock: Clock
    identity: Identity
    rights: Rights
    dispatcher: Dispatcher
    heard: Heard = field(default_factory=Heard)

    async def call(
        self, operation: Operation[In, Out], ask: In, *, by: str = "", address: str = "127.0.0.1"
    ) -> Out:
        """One call over the road; from this machine unless told otherwise."""
        return await self.dispatcher.call(operation, caller(by, address), lambda: ask)

    async def bootstrap(self) -> str:
        """The root token."""
        answer = await self.call(admin.bootstrap, admin.AdminBootstrapRequest())
        return answer.token_secret

    async def token(self, by: str, name: str, *policies: str, ttl: int = 0) -> auth.CreateTokenResponse:
        """A token of a user, new or not."""
        ask = auth.CreateTokenRequest(subject_name=name, policies=list(policies), ttl_seconds=ttl)
        return await self.call(auth.create_token, ask, by=by)

    async def grant(self, by: str, name: str, *rules: admin.PolicyRule) -> admin.Grant | None:
        """A new grant."""
        ask = admin.PolicyCreateRequest(policy=admin.Grant(name=name, rules=list(rules)))
        return (await self.call(admin.create_grant, ask, by=by)).policy

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[asyncio.TaskGroup]:
        """While identity looks out for revocations; with the group its task is in."""
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(self.identity.follow())
            await turn()
            yield group
            follower.cancel()


async def turn() -> None:
    """Let everybody else run once."""
    await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, not a wait


def caller(bearer: str = "", address: str = "127.0.0.1") -> Caller:
    """Somebody with this token."""
    local = address.startswith("127.")
    return Caller(edge="local", request_id="r1", address=address, is_local=local, bearer=bearer)


@asynccontextmanager
async def plane(clock: Clock | None = None, store: MemoryStore | None = None) -> AsyncGenerator[Plane]:
    """A plane with the built-in grants and nobody in it."""
    clock = clock or ManualClock()
    async with store or MemoryStore(KINDS) as opened:
        await seed(opened, clock)
        identity, rights, heard = Identity(opened, clock), Rights(opened, clock), Heard()
        guards = Guards(identity=identity, limits=Limits(clock), audit=heard, meter=heard, clock=clock)
        dispatcher = Dispatcher(guards)
        register(dispatcher, store=opened, rights=rights, identity=identity)
        ground = Ground(store=opened, clock=clock, identity=identity, rights=rights, hashes=Hashes(QUICK))
        sessions.register(dispatcher, logins=Logins(ground))
        yield Plane(opened, clock, identity, rights, dispatcher, heard)


async def outcomes(*calls: Awaitable[object]) -> list[str]:
    """The calls at the same time; `ok` or the name of each one's failure."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [each.codes.name if isinstance(each, RuneError) else "ok" for each in results]


def attach(policy: str, subject: str) -> admin.PolicyAttachToSubjectRequest:
    """A grant for somebody."""
    return admin.PolicyAttachToSubjectRequest(policy_name=policy, subject_name=subject)


def detach(policy: str, subject: str) -> admin.PolicyDetachFromSubjectRequest:
    """A grant from somebody."""
    return admin.PolicyDetachFromSubjectRequest(policy_name=policy, subject_name=subject)


def policies(p: Plane, subject: str) -> list[str]:
    """The grants of somebody."""
    return p.store.get(admin.Subject, SYSTEM, subject).policies
