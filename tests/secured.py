"""The whole agent-security plane in this process, behind its door: real identity, limits, handlers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.security.apikeys import CreateApiKeyRequest
from rune.api.validate import build
from rune.core import rights, roles
from rune.core.apikeys import Keys
from rune.core.audit import Audit
from rune.core.auth import Identity
from rune.core.call import Caller
from rune.core.clock import Clock, SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.events.memory import MemoryEvents
from rune.core.limits import Limits, Quota
from rune.core.store.memory import MemoryStore
from rune.core.vault import KeyRecord, Vault
from rune.security import organizations
from rune.security.apikeys import ApiKeys
from rune.security.kinds import KINDS
from rune.security.plane import SHORTCUTS, Plane, Stores
from rune.server.metrics import Metrics
from rune.server.pages import Surroundings, app
from rune.server.rest import Rest
from vaults import MemoryKeyring

POLICY = """\
version: "1.0"
rules:
  - name: block-injection
    scanner: prompt_injection
    action: block
    severity: critical
"""
_numbers = itertools.count(1)


class Secured:
    """The plane, and short words for what tests do with it."""

    def __init__(
        self, clock: Clock, store: MemoryStore, *, quotas: Mapping[str, Quota], private: bool
    ) -> None:
        self.clock, self.store = clock, store
        self.events = MemoryEvents()
        self.keyring = MemoryKeyring()
        self.vault = Vault(self.keyring)
        self.identity = Identity(store, clock, keys=Keys(store, clock))
        self.audit = Audit(store, clock)
        self.rights = rights.Rights(store, clock)
        metrics = Metrics()
        limits = Limits(clock, quotas, own=lambda name, rate: organizations.quota(store, name, rate))
        self.dispatcher = Dispatcher(
            Guards(
                identity=self.identity,
                limits=limits,
                audit=self.audit,
                meter=metrics,
                clock=clock,
                is_organization=lambda name: organizations.exists(store, name),
            )
        )
        self.plane = Plane(
            Stores(store=store, events=self.events, vault=self.vault, notes=self.audit),
            clock=clock,
            allow_private_webhooks=private,
        )
        self.plane.register(self.dispatcher)
        self.rest = Rest(self.dispatcher, clock, shortcuts=SHORTCUTS)
        self.app: Any = app(self.rest, Surroundings(trouble=str, metrics=metrics))
        self.token = ""

    async def key(self, organization: str = "default", **given: Any) -> str:
        """A new API key's text."""
        ask: CreateApiKeyRequest = build(CreateApiKeyRequest, {"name": "test", **given})
        _, text = await ApiKeys(self.store, clock=self.clock).issue(organization, ask, by="test")
        return text

    async def organization(self, name: str) -> str:
        """Another tenant, and a key of it."""
        async with self.client() as http:
            answer = await http.post("/v1/organizations", json={"name": name})
        assert answer.status_code == 201, answer.text
        return await self.key(name)

    def client(self, key: str = "", **headers: str) -> httpx.AsyncClient:
        """A client with the key, or with the root token."""
        who = {"x-rune-key": key} if key else {"authorization": f"Bearer {self.token}"}
        carrier = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=carrier, base_url="http://runed", headers={**who, **headers})

    async def call(self, operation: Operation[Any, Any], ask: Message, *, key: str = "") -> Any:
        """One call past the doors."""
        caller = Caller(
            edge="local", request_id="r-1", is_local=True, bearer="" if key else self.token, api_key=key
        )
        return await self.dispatcher.call(operation, caller, lambda: ask)


@asynccontextmanager
async def secured(
    clock: Clock | None = None, *, quotas: Mapping[str, Quota] | None = None, private: bool = False
) -> AsyncGenerator[Secured]:
    """A plane at work."""
    clock = clock or SystemClock()
    async with MemoryStore([*KINDS, *rights.KINDS, KeyRecord, Service, Instance]) as store:
        await organizations.seed(store, clock)
        await roles.seed(store, clock)
        plane = Secured(clock, store, quotas=quotas or {}, private=private)
        _, plane.token = await plane.rights.bootstrap()
        async with plane.events, asyncio.TaskGroup() as tasks:
            work = (plane.identity.follow(), *plane.plane.work())
            running = [tasks.create_task(each) for each in work]
            try:
                yield plane
            finally:
                plane.plane.release()
                for task in running:
                    task.cancel()


def event(agent: str = "research-agent", **fields: Any) -> dict[str, Any]:
    """An event as an agent sends it."""
    at = SystemClock().now().isoformat()
    made = {"event_id": f"evt_{next(_numbers)}", "timestamp": at, "agent_id": agent, "event_type": "scan"}
    return {**made, **fields}


def injection(agent: str = "research-agent", risk: float = 0.95, **fields: Any) -> dict[str, Any]:
    """An event that tells of a prompt injection."""
    threat = {"type": "prompt_injection", "rule": "pi-1", "severity": "critical", "confidence": 0.95}
    scan = {"risk_score": risk, "l1_result": "block", "blocked": True, "threats_detected": [threat]}
    return event(agent, scan_result=scan, **fields)
