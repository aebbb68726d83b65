"""Follows events and raises alerts. How far it came is written with what it raised: nothing counts twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from rune.core.clock import Clock
from rune.core.events.base import Delivery, EventStore, Stored
from rune.core.events.event import Event
from rune.core.settle import settle
from rune.core.store.base import Put, Store, Write
from rune.core.tokens import SYSTEM
from rune.errors import Closed, InvalidArgument, RuneError
from rune.security import meeting, raising
from rune.security.detect import is_quiet, raised
from rune.security.kinds import Alert, Policy, Progress, Step, Tenant, space

logger = logging.getLogger(__name__)

ID: Final = "detect"
SELDOM: Final = 5_000
"""Positions after which progress is written though nothing was raised: as many are looked at again."""
PAUSE: Final = 1.0
"""Seconds before another try after a failure."""
LONGEST_HISTORY: Final = 100
RUSH: Final = 250
"""Events at once after which detection rests, to look at more of them together."""
PIECE: Final = 1_000
"""Events that are looked at without a pause."""
REST: Final = 0.2
"""Seconds. An acknowledgement never waits for them."""


class Detection:
    """Looks at every event once. `run` has to run for as long as events come in."""

    def __init__(self, store: Store, events: EventStore, *, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._at: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._ended = False
        self._in_rush = False

    async def run(self) -> None:
        """Until it is cancelled or the stores close; after a failure it goes on from what is written."""
        try:
            while True:
                self._at = self._written()
                try:
                    await self._follow()
                except Closed:
                    return
                except RuneError as error:
                    logger.warning("detection failed, it tries again", extra={"reason": error.message})
                await asyncio.sleep(PAUSE)
        finally:
            self._ended = True
            self._moved.set()

    async def reached(self, organization: str, position: int, seconds: float) -> bool:
        """Whether the events up to the position were looked at, waiting at most so long; in a rush it does
        not wait at all.
        """
        if self._in_rush:
            return False
        try:
            async with asyncio.timeout(seconds):
                while not (self._ended or self._in_rush) and self._at.get(organization, 0) < position:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return self._at.get(organization, 0) >= position

    async def _follow(self) -> None:
        async for deliveries in self._events.follow(self._at):
            if sum(len(delivery.events) for delivery in deliveries) <= RUSH:
                await self._look_apart(deliveries)
            else:
                await self._rush(deliveries)

    async def _rush(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody waits for these; then let events gather: they cost less when they are looked at together."""
        self._in_rush = True
        self._wake()
        try:
            for piece in _pieces(deliveries):
                await self._look_apart(piece)
            await asyncio.sleep(REST)
        finally:
            self._in_rush = False

    async def _look_apart(self, deliveries: Sequence[Delivery]) -> None:
        """Look at them all; where an event cannot be told of, at the others all the same."""
        try:
            await self.look(*deliveries)
        except InvalidArgument as error:
            every = [(delivery, each) for delivery in deliveries for each in delivery.events]
            if len(every) > 1:
                for delivery, each in every:
                    await self._look_apart([msgspec.structs.replace(delivery, events=[each], missed=0)])
                return
            delivery, bad = every[0]
            logger.warning(
                "an event raises no alert, since the alert cannot be stored",
                extra={
                    "organization": delivery.organization,
                    "event": bad.event.event_id,
                    "reason": str(error),
                },
            )
            self._move(delivery.organization, bad.position)

    async def look(self, *deliveries: Delivery) -> None:
        """Raise what the events of some deliveries say, and note how far that is, in one commit."""
        doubted: dict[str, Sequence[tuple[Event, Event]]] = {}
        for delivery in deliveries:
            if delivery.missed:
                logger.warning(
                    "events were dropped before detection saw them",
                    extra={"organization": delivery.organization, "events": delivery.missed},
                )
            reports = [each.event for each in delivery.events if is_report(each.event)]
            meant = [await self._meant(delivery.organization, each) for each in reports]
            doubted[delivery.organization] = [found for found in meant if found]
        told = [delivery for delivery in deliveries if delivery.events]
        await settle(
            self._store,
            lambda: [
                write
                for each in told
                for write in self._writes(each.organization, each.events, doubted[each.organization])
            ],
            operation="raise_alerts",
        )
        for each in told:
            self._move(each.organization, each.events[-1].position)

    def _move(self, organization: str, position: int) -> None:
        self._at[organization] = position
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _writes(
        self, organization: str, events: Sequence[Stored], doubted: Sequence[tuple[Event, Event]]
    ) -> list[Write]:
        rule_type = self._rule_type(organization)
        sightings = [
            raising.Sighting(
                raised=found, at=each.event.timestamp, event_id=each.event.event_id, position=each.position
            )
            for each in events
            if not is_quiet(each.event) and (found := raised(each.event, rule_type)) is not None
        ]
        writes = raising.writes(self._store, organization, sightings, now=self._clock.now())
        if doubted:
            touched = {write.value.key for write in writes if isinstance(write, Put)}
            doubts = self._doubts(organization, doubted)
            writes += [Put(alert) for alert in doubts if alert.key not in touched]
        met = (each.event for each in events)
        writes += meeting.writes(self._store, organization, met, now=self._clock.now())
        before = self._progress(organization)
        last = events[-1].position
        if writes or last - before.position >= SELDOM:
            writes.append(Put(replace(before, position=last)))
        return writes

    def _rule_type(self, organization: str) -> Any:  # noqa: ANN401 - a RuleType
        def rule_type(policy_id: str, rule: str) -> str:
            policy = self._store.find(Policy, space(organization), policy_id) if policy_id else None
            rules: list[Mapping[str, Any]] = policy.compiled.get("rules", []) if policy else []
            return next((str(each.get("type", "")) for each in rules if each.get("name") == rule), "")

        return rule_type

    async def _meant(self, organization: str, report: Event) -> tuple[Event, Event] | None:
        """A report of a false positive, and the event that it is about."""
        named = report.metadata.get("of_event")
        found = await self._events.find(organization, named) if isinstance(named, str) and named else None
        return (report, found.event) if found else None

    def _doubts(self, organization: str, doubted: Sequence[tuple[Event, Event]]) -> list[Alert]:
        """The alerts whose history shows what agents reported as false positives; people decide."""
        changed: dict[str, Alert] = {}
        for report, event in doubted:
            found = raised(event, self._rule_type(organization))
            alert = raising.live(self._store, organization, found) if found else None
            if alert is not None and len(alert.history) < LONGEST_HISTORY:
                alert = changed.get(alert.id, alert)
                step = _reported(alert, report, self._clock.now())
                changed[alert.id] = replace(alert, history=[*alert.history, step])
        return list(changed.values())

    def _progress(self, organization: str) -> Progress:
        found = self._store.find(Progress, space(organization), ID)
        return found or Progress(organization=organization, id=ID)

    def _written(self) -> dict[str, int]:
        tenants = self._store.list(Tenant, SYSTEM)
        return {each.name: self._progress(each.name).position for each in tenants}


def _pieces(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """The deliveries in parts of PIECE events at most, so that nobody else of this loop waits for long."""
    piece: list[Delivery] = []
    room = PIECE
    for delivery in deliveries:
        events, missed = delivery.events, delivery.missed
        while True:
            piece.append(Delivery(delivery.organization, events[:room], missed))
            events, missed, room = events[room:], 0, room - len(piece[-1].events)
            if room:
                break
            yield piece
            piece, room = [], PIECE
            if not events:
                break
    if piece:
        yield piece


def is_report(event: Event) -> bool:
    """An agent takes an event for a false positive."""
    return event.event_type == "custom" and event.metadata.get("kind") == "false_positive"


def _reported(alert: Alert, report: Event, now: datetime) -> Step:
    note = cast("object", report.metadata.get("note"))
    words = (
        f"reported as a false positive: {note}"
        if isinstance(note, str) and note
        else "reported as a false positive"
    )
    return Step(
        status=alert.status, was=alert.status, at=now, by=f"agent {report.agent_id}", note=words[:2_000]
    )
