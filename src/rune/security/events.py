"""Handlers of events: a batch is stored whole and durably before it is acknowledged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from rune.api.security import events as api
from rune.api.security.events import SecurityEvent
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.events.base import EventStore, Filter
from rune.core.events.event import Event, in_time, read, read_body
from rune.errors import NotFound, OutOfRange, PermissionDenied
from rune.security.pages import Cursors

PATIENCE: Final = 0.5
"""Seconds that an acknowledgement waits for the batch's alerts: who sends and then reads, sees them."""
PARTS: Final = ("sdk", "tool", "scan_result", "policy_result")
"""The parts of an event that may hold what we do not know."""


class Detection(Protocol):
    """What raises alerts from events."""

    async def reached(self, organization: str, position: int, seconds: float) -> bool:
        """Whether the events up to the position were looked at, waiting at most so long."""
        ...


class Batch(api.IngestEventsRequest):
    """A batch that came as JSON and needed no second look: its events are as the store takes them."""

    events: list[Event]  # pyright: ignore[reportIncompatibleVariableOverride] - the handler tells them apart


def read_batch(body: bytes) -> Batch | None:
    """The request in one go; None where it has to be read field by field."""
    events = read_body(body)
    return None if events is None else Batch(events=events)


class Events:
    """What can be done with events."""

    def __init__(self, store: EventStore, cursors: Cursors, detection: Detection, *, clock: Clock) -> None:
        self._store = store
        self._cursors = cursors
        self._detection = detection
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.ingest)(self.ingest)
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.tail)(self.tail)
        dispatcher.handles(api.get)(self.get)

    async def ingest(self, call: Call, ask: api.IngestEventsRequest) -> api.IngestEventsResponse:
        """Store the batch or nothing of it."""
        organization, agent = call.principal.organization, call.principal.agent
        strangers = sorted({event.agent_id for event in ask.events} - {agent}) if agent else []
        if strangers:
            raise PermissionDenied(
                f"this API key sends events of agent {agent!r} alone, not of {strangers[0]!r}"
            )
        now = self._clock.now()
        events = in_time(ask.events, now) if isinstance(ask, Batch) else taken(ask.events, now)
        appended = await self._store.append(organization, events)
        await self._detection.reached(organization, self._store.position(organization), PATIENCE)
        return api.IngestEventsResponse(accepted=appended.accepted)

    async def list(self, call: Call, ask: api.ListSecurityEventsRequest) -> api.ListSecurityEventsResponse:
        """The events that match, newest arrival first."""
        position = self._cursors.read(call, ask.cursor)
        page = await self._store.query(
            call.principal.organization,
            Filter(
                agent_id=_own(call, ask.agent_id),
                event_type=ask.event_type,
                threat_type=ask.threat_type,
                blocked=ask.blocked,
                since=ask.since,
                until=ask.until,
            ),
            limit=ask.limit,
            before=int(position) if position else None,
        )
        cursor = None if page.before is None else self._cursors.made(call, str(page.before))
        return api.ListSecurityEventsResponse(
            events=[shown(each.event) for each in page.events], next_cursor=cursor
        )

    async def tail(self, call: Call, ask: api.TailEventsRequest) -> AsyncIterator[api.TailEventsResponse]:
        """The events that match, oldest first; raises OutOfRange where some were dropped meanwhile."""
        organization = call.principal.organization
        wanted = Filter(
            agent_id=_own(call, ask.agent_id),
            event_type=ask.event_type,
            threat_type=ask.threat_type,
            blocked=ask.blocked,
        )
        newest = self._store.position(organization)
        if ask.resume > newest:
            raise OutOfRange(f"there is no event {ask.resume} yet, {newest} is the newest: begin anew")
        after = ask.resume or newest
        yield api.TailEventsResponse(revision=after)
        async for (new,) in self._store.follow({organization: after}, only=organization):
            if new.missed:
                why = "were dropped for their age or size: begin anew"
                raise OutOfRange(f"{new.missed} events behind position {after} {why}")
            for each in new.events:
                after = each.position
                if wanted.admits(each.event):
                    yield api.TailEventsResponse(event=shown(each.event), revision=after)

    async def get(self, call: Call, ask: api.GetEventRequest) -> SecurityEvent:
        """One event."""
        found = await self._store.find(call.principal.organization, ask.event_id)
        if found is None or call.principal.agent not in ("", found.event.agent_id):
            raise NotFound(f"there is no event {ask.event_id!r}")
        return shown(found.event)


def _own(call: Call, agent_id: str) -> str:
    """The agent that is asked for; a key that is narrowed to one sees no other."""
    agent = call.principal.agent
    if agent and agent_id not in ("", agent):
        raise PermissionDenied(f"this API key reads events of agent {agent!r} alone")
    return agent or agent_id


def taken(events: Sequence[SecurityEvent], now: datetime) -> list[Event]:
    """The events as they are stored; raises InvalidArgument that names index and field."""
    return read([_plain(event) for event in events], now)


def _plain(event: SecurityEvent) -> dict[str, Any]:
    """The event as it was sent, what came under names that are none of ours among the rest."""
    plain: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(datetime,))
    for part in PARTS:
        held = plain[part]
        if held and (more := held.pop("more")):
            plain[part] = {**more, **held}
    return plain


def shown(event: Event) -> SecurityEvent:
    """The event in the API's words."""
    plain: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(datetime,))
    scan, policy = plain.get("scan_result"), plain.get("policy_result")
    if scan is not None and event.scan_result is not None:
        scan["blocked"] = event.scan_result.has_blocked
    if policy:
        plain["policy_result"] = {name: value for name, value in policy.items() if value is not None}
    return msgspec.convert(plain, SecurityEvent)
