"""Puts the agent-security plane together: its handlers, and what runs beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from rune.api.security import events as events_api
from rune.api.security import liveness
from rune.api.security.apikeys import CreateApiKeyRequest
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.events.base import EventStore
from rune.core.store.base import Store
from rune.core.vault import Vault
from rune.errors import Unavailable
from rune.security import organizations
from rune.security.agents import Agents
from rune.security.alerts import Alerts
from rune.security.apikeys import ApiKeys
from rune.security.approvals import Approvals
from rune.security.detection import Detection
from rune.security.events import Events, read_batch
from rune.security.organizations import DEFAULT, Organizations
from rune.security.policies import Policies
from rune.security.sdk import Bundles
from rune.security.silence import Silence
from rune.security.stats import Stats
from rune.security.watchman import Watchman
from rune.security.webhooks import SEND_SECONDS, Postman, Webhooks
from rune.security.workloads import Notes, Workloads

if TYPE_CHECKING:
    import httpx

TRIM_SECONDS: Final = 60.0
SHORTCUTS: Final = {events_api.ingest.name: read_batch}
"""Requests that come too often to be read field by field."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the plane stands on."""

    store: Store
    events: EventStore
    vault: Vault
    """Seals what webhooks are signed with."""
    notes: Notes
    """The audit log, for what the plane does by itself."""


async def trimming(events: EventStore, clock: Clock) -> None:
    """Drop events that are past their retention, until it is cancelled or the store closes."""
    while True:
        try:
            more = await events.trim(clock.now())
        except Unavailable as error:
            logger.warning("events were not trimmed, it is tried again", extra={"reason": error.message})
            more = 0
        await asyncio.sleep(0 if more else TRIM_SECONDS)


class Plane:
    """The agent-security plane of a server. `organizations.seed` must have run."""

    def __init__(self, stores: Stores, *, clock: Clock, allow_private_webhooks: bool = False) -> None:
        store, events = stores.store, stores.events
        cursors = organizations.cursors(store)
        self._clock, self._events = clock, events
        self._keys = ApiKeys(store, clock=clock)
        self._bundles = Bundles(store)
        self._approvals = Approvals(store, cursors, clock=clock)
        self.detection = Detection(store, events, clock=clock)
        self._workloads = Workloads(store, stores.notes, clock=clock)
        self._watchman = Watchman(store, events, clock=clock)
        self.silence = Silence(store, events, clock=clock)
        self._postman = Postman(
            store, stores.vault, partial(_carrier, allow_private=allow_private_webhooks), clock=clock
        )
        agents = Agents(store, events, cursors, clock=clock)
        self._alerts = Alerts(store, cursors, clock=clock)
        self._parts = (
            Events(events, cursors, self.detection, clock=clock),
            agents,
            Policies(store, cursors, clock=clock),
            self._alerts,
            self._keys,
            Organizations(store, clock=clock),
            self._bundles,
            self._approvals,
            Stats(store, events, agents, clock=clock),
            Webhooks(store, stores.vault, cursors, clock=clock),
        )

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the plane's operations."""
        for part in self._parts:
            part.register(dispatcher)
        dispatcher.handles(liveness.get)(self._liveness)

    def work(self) -> Sequence[Coroutine[object, object, None]]:
        """What runs for as long as the server does."""
        running = (self._alerts.prepare(), self.detection.run(), self._bundles.run(), self._watchman.run())
        running = (*running, self._postman.run(), self.silence.run(), self._approvals.run())
        return (*running, self._workloads.run(), trimming(self._events, self._clock))

    def release(self) -> None:
        """Answer whoever waits: the server stops."""
        self._bundles.release()
        self._approvals.release()

    async def first_key(self) -> str:
        """A key with full access, for a scratch server."""
        _, text = await self._keys.issue(DEFAULT, CreateApiKeyRequest(name="dev"), by="runed --dev")
        return text

    async def _liveness(self, _: Call, _ask: liveness.GetLivenessRequest) -> liveness.Liveness:
        return liveness.Liveness(timestamp=self._clock.now())


def _carrier(*, allow_private: bool) -> httpx.AsyncClient:
    from rune.security.addresses import client  # noqa: PLC0415 - a large library that waits for the first webhook

    return client(allow_private=allow_private, timeout=SEND_SECONDS)
