"""A small control plane in memory for tests: a store with the built-in grants, and the real road to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import admin, auth
from rune.core.auth import Identity
from rune.core.call import Call, Caller
from rune.core.clock import Clock, ManualClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.limits import Limits
from rune.core.rights import KINDS, Rights
from rune.core.roles import seed
from rune.core.store.memory import MemoryStore
from rune.errors import RuneError
from rune.orchestrator.admin import register

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)


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

    async def call(self, operation: Operation[In, Out], ask: In, *, by: str = "", **caller: Any) -> Out:
        """One call over the road; from this machine unless told otherwise."""
        return await self.dispatcher.call(operation, self.caller(by, **caller), lambda: ask)

    def caller(self, bearer: str = "", **more: Any) -> Caller:
        """Somebody with this token."""
        given: dict[str, Any] = {"address": "127.0.0.1", "is_local": True, **more}
        return Caller(edge="local", request_id="r1", bearer=bearer, **given)

    async def bootstrap(self) -> str:
        """The root token."""
        answer = await self.call(admin.bootstrap, admin.AdminBootstrapRequest())
        return answer.token_secret

    async def token(self, by: str, name: str, *policies: str, **more: Any) -> auth.CreateTokenResponse:
        """A token of a user, new or not."""
        ask = auth.CreateTokenRequest(subject_name=name, policies=list(policies), **more)
        return await self.call(auth.create_token, ask, by=by)

    async def grant(self, by: str, name: str, *rules: admin.PolicyRule) -> admin.Grant | None:
        """A new grant."""
        ask = admin.PolicyCreateRequest(policy=admin.Grant(name=name, rules=list(rules)))
        return (await self.call(admin.create_grant, ask, by=by)).policy


@asynccontextmanager
async def plane(clock: Clock | None = None, store: MemoryStore | None = None) -> AsyncIterator[Plane]:
    """A plane with the built-in grants and nobody in it."""
    clock = clock or ManualClock()
    async with store or MemoryStore(KINDS) as opened:
        await seed(opened, clock)
        identity, rights, heard = Identity(opened, clock), Rights(opened, clock), Heard()
        guards = Guards(identity=identity, limits=Limits(clock), audit=heard, meter=heard, clock=clock)
        dispatcher = Dispatcher(guards)
        register(dispatcher, store=opened, rights=rights, identity=identity)
        yield Plane(opened, clock, identity, rights, dispatcher, heard)
