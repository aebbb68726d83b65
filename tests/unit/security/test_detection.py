"""Detection counts every event once, also when it is stopped anywhere and begins again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rune.core.clock import ManualClock
from rune.core.events.base import Delivery, Stored
from rune.core.events.event import Event, read
from rune.core.events.memory import MemoryEvents
from rune.core.store.memory import MemoryStore
from rune.security import detection as detection_module
from rune.security import organizations, raising
from rune.security.detect import Raised, RuleType
from rune.security.detection import Detection
from rune.security.kinds import KINDS, Alert, Progress

EVERY: Any = list(HealthCheck)
AT = datetime(2026, 3, 1, tzinfo=UTC)


def stored(position: int, agent: str = "bot", risk: float = 0.9, threat: str = "jailbreak") -> Stored:
    plain: dict[str, Any] = {
        "event_id": f"e{position}",
        "timestamp": AT.isoformat(),
        "agent_id": agent,
        "event_type": "scan",
        "scan_result": {"risk_score": risk, "threat_type": threat},
    }
    return Stored(position, read([plain], AT)[0])


@settings(deadline=None, database=None, suppress_health_check=EVERY, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=8), st.integers(1, 3))
async def test_however_often_the_same_events_are_delivered_they_count_once(
    repeats: list[tuple[int, int]], agents: int
) -> None:
    """A delivery that was committed and is given again, in other pieces, changes nothing."""
    clock = ManualClock(AT)
    every = [stored(position, f"bot-{position % agents}") for position in range(1, 13)]
    async with MemoryStore(KINDS) as store, MemoryEvents() as events:
        await organizations.seed(store, clock)
        detection = Detection(store, events, clock=clock)
        for start, size in [*repeats, (0, 12)]:
            # as after a crash: from any earlier position up to where it had come, and further
            done = max((alert.position for alert in store.list(Alert)), default=0)
            piece = every[min(start, done) : done + size]
            if piece:
                await detection.look(Delivery(organization="default", events=piece, missed=0))
        await detection.look(Delivery(organization="default", events=every, missed=0))
        counted = {alert.agent_id: alert.occurrences for alert in store.list(Alert)}
    assert counted == {f"bot-{n}": sum(p % agents == n for p in range(1, 13)) for n in range(agents)}


async def test_alerts_and_how_far_detection_came_are_one_commit() -> None:
    async with MemoryStore(KINDS) as store, MemoryEvents() as events:
        await organizations.seed(store, ManualClock(AT))
        detection = Detection(store, events, clock=ManualClock(AT))
        before = store.revision
        await detection.look(Delivery(organization="default", events=[stored(7)], missed=0))
        assert store.revision == before + 1
        assert store.list(Progress)[0].position == 7
        await detection.look(Delivery(organization="default", events=[stored(8, risk=0.1)], missed=0))
        assert store.revision == before + 1


async def test_past_the_most_alerts_the_oldest_closed_one_goes(monkeypatch: Any) -> None:
    monkeypatch.setattr(raising, "MOST", 3)
    async with MemoryStore(KINDS) as store, MemoryEvents() as events:
        await organizations.seed(store, ManualClock(AT))
        detection = Detection(store, events, clock=ManualClock(AT))
        for number in range(1, 7):
            await detection.look(
                Delivery(organization="default", events=[stored(number, f"bot-{number}")], missed=0)
            )
        assert len(store.list(Alert)) == 3


async def test_an_agent_that_raises_too_many_alerts_pushes_out_its_own(monkeypatch: Any) -> None:
    """Otherwise one that was taken over could make room until nobody sees what others raised."""
    monkeypatch.setattr(raising, "MOST", 5)
    async with MemoryStore(KINDS) as store, MemoryEvents() as events:
        await organizations.seed(store, ManualClock(AT))
        detection = Detection(store, events, clock=ManualClock(AT))
        for number in range(1, 13):
            agent = "victim" if number < 3 else "noisy"
            each = stored(number, agent, threat=f"threat-{number}")
            await detection.look(Delivery(organization="default", events=[each], missed=0))
        found = [alert.agent_id for alert in store.list(Alert)]
    assert sorted(found) == ["noisy", "noisy", "noisy", "victim", "victim"]


async def test_an_event_whose_alert_cannot_be_stored_stops_no_other(monkeypatch: Any) -> None:
    """Nothing that the API takes is known to do this; if something ever does, detection goes on."""
    real = detection_module.raised

    def poisoned(event: Event, rule_type: RuleType) -> Raised | None:
        found = real(event, rule_type)
        if found is None or event.event_id != "e3":
            return found
        return msgspec.structs.replace(found, details={"bad": object()})

    monkeypatch.setattr(detection_module, "raised", poisoned)
    async with MemoryStore(KINDS) as store, MemoryEvents() as events:
        await organizations.seed(store, ManualClock(AT))
        every = [stored(number).event for number in range(1, 4)]
        await events.append("default", every)
        detection = Detection(store, events, clock=ManualClock(AT))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(detection.run())
            assert await detection.reached("default", 3, 5.0)
            running.cancel()
        assert [alert.occurrences for alert in store.list(Alert)] == [2]
