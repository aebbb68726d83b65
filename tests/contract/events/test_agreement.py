"""Both event stores do the same, whatever comes in or is asked, across restarts of the one on disk."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from unittest import mock

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contract.events.samples import NOW
from rune.core.events import reads, segments
from rune.core.events.base import Dimension, EventStore, Filter, Page, Retention, Span, Step, Stored
from rune.core.events.event import Event, Policy, Scan, Tool
from rune.core.events.memory import MemoryEvents
from rune.core.events.sqlite import SqliteEvents
from rune.errors import RuneError

RETENTION = Retention(max_age=timedelta(hours=5))

organizations = st.sampled_from(["default", "acme"])
agents = st.sampled_from(["support", "research", "mail"])
threats = st.sampled_from([None, None, "jailbreak", "prompt_injection"])
kinds = st.sampled_from(["scan", "tool_call", "custom"])
moments = st.integers(-3, 6 * 60 * 60).map(lambda ago: NOW - timedelta(seconds=ago))
scans = st.none() | st.builds(
    Scan, risk_score=st.floats(0, 1), blocked=st.sampled_from([None, True, False]), threat_type=threats
)
events = st.builds(
    Event,
    event_id=st.integers(0, 60).map("e{}".format)
    | st.integers(0, 30).map("00000000-0000-4000-8000-{:012d}".format),
    timestamp=moments,
    agent_id=agents,
    event_type=kinds,
    framework=st.sampled_from(["", "langchain", "openai"]),
    tool=st.none() | st.builds(Tool, name=st.sampled_from(["", "search", "mail"])),
    scan_result=scans,
    policy_result=st.none() | st.builds(Policy, allowed=st.booleans()),
    metadata=st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(max_size=3), max_size=2).map(
        lambda values: {name: str(value) for name, value in values.items()}
    ),
)
spans = st.tuples(moments, moments).map(lambda pair: Span(min(pair), max(pair)))
filters = st.builds(
    Filter,
    agent_id=st.just("") | agents,
    event_type=st.just("") | kinds,
    threat_type=st.sampled_from(["", "jailbreak", "never"]),
    blocked=st.none() | st.booleans(),
    since=st.none() | moments,
    until=st.none() | moments,
)


async def outcome(work: Awaitable[object]) -> object:
    """What came of it, in a form that can be compared."""
    try:
        return await work
    except RuneError as error:
        return type(error), error.message


async def everything(store: EventStore, organization: str, wanted: Filter, limit: int) -> list[Stored]:
    """All pages of a query."""
    found: list[Stored] = []
    before: int | None = None
    while True:
        page: Page = await store.query(organization, wanted, limit=limit, before=before)
        assert len(page.events) <= limit
        found += page.events
        if page.before is None:
            return found
        assert before is None or page.before < before
        before = page.before


async def trimmed(store: EventStore, ahead: int) -> int:
    """Let retention do all of its steps."""
    total = 0
    while gone := await store.trim(NOW + timedelta(minutes=ahead)):
        total += gone
    return total


class Agreement(RuleBasedStateMachine):
    """Drives a store in memory and one on disk side by side."""

    @initialize(segment=st.integers(1, 12), budget=st.integers(1, 8), generation=st.integers(1, 3))
    def start(self, segment: int, budget: int, generation: int) -> None:
        self.patches = [
            mock.patch.object(segments, "SEGMENT", segment),
            mock.patch.object(segments, "GENERATION", generation),
            mock.patch.object(segments, "BITS", 8),
            mock.patch.object(reads, "BUDGET", budget),
        ]
        for patch in self.patches:
            patch.start()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = self.runner.run(MemoryEvents(RETENTION).__aenter__())
        self.sqlite = self.runner.run(self.opened())

    async def opened(self) -> SqliteEvents:
        return await SqliteEvents(Path(self.folder.name) / "events.db", RETENTION).__aenter__()

    async def both(self, work: Callable[[EventStore], Awaitable[object]]) -> None:
        assert await outcome(work(self.sqlite)) == await outcome(work(self.memory))

    @rule(organization=organizations, batch=st.lists(events, max_size=12))
    def append(self, organization: str, batch: list[Event]) -> None:
        self.runner.run(self.both(lambda store: store.append(organization, batch)))

    @rule(batches=st.lists(st.tuples(organizations, st.lists(events, max_size=4)), max_size=5))
    def append_at_once(self, batches: list[tuple[str, list[Event]]]) -> None:
        def all_of_them(store: EventStore) -> Awaitable[object]:
            return asyncio.gather(*(store.append(*batch) for batch in batches))

        self.runner.run(self.both(all_of_them))

    @rule(organization=organizations, wanted=filters, limit=st.integers(1, 7))
    def query(self, organization: str, wanted: Filter, limit: int) -> None:
        self.runner.run(self.both(lambda store: everything(store, organization, wanted, limit)))

    @rule(organization=organizations, number=st.integers(0, 60))
    def find(self, organization: str, number: int) -> None:
        self.runner.run(self.both(lambda store: store.find(organization, f"e{number}")))

    @rule(organization=organizations, after=st.integers(-1, 20), limit=st.integers(1, 9))
    def tail(self, organization: str, after: int, limit: int) -> None:
        async def listed(store: EventStore) -> object:
            return list(await store.tail(organization, after, limit))

        self.runner.run(self.both(listed))

    @rule(organization=organizations, span=spans)
    def overview(self, organization: str, span: Span) -> None:
        self.runner.run(self.both(lambda store: store.overview(organization, span)))

    @rule(
        organization=organizations, span=spans, step=st.sampled_from(["minute", "hour", "day"]),
        agent=st.just("") | agents,
    )  # fmt: skip
    def timeseries(self, organization: str, span: Span, step: Step, agent: str) -> None:
        self.runner.run(
            self.both(lambda store: store.timeseries(organization, span, step=step, agent_id=agent))
        )

    @rule(organization=organizations, span=spans, what=st.sampled_from(["threat", "type", "agent", "tool"]))
    def top(self, organization: str, span: Span, what: Dimension) -> None:
        self.runner.run(self.both(lambda store: store.top(organization, what, span, limit=3)))

    @rule(organization=organizations, agent=agents, span=spans)
    def baseline(self, organization: str, agent: str, span: Span) -> None:
        self.runner.run(self.both(lambda store: store.baseline(organization, agent, span)))

    @rule(organization=organizations, named=st.lists(agents, max_size=3), span=spans)
    def activity(self, organization: str, named: list[str], span: Span) -> None:
        self.runner.run(self.both(lambda store: store.activity(organization, named, span)))

    @rule(ahead=st.integers(-60, 240))
    def trim(self, ahead: int) -> None:
        self.runner.run(self.both(lambda store: trimmed(store, ahead)))

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.sqlite.close())
        self.sqlite = self.runner.run(self.opened())

    @rule()
    def check(self) -> None:
        assert self.runner.run(self.sqlite.check()) == []

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "runner"):
            return
        assert self.sqlite.positions() == self.memory.positions()
        for organization in ("default", "acme"):
            self.runner.run(self.both(lambda store, named=organization: store.agents(named, NOW)))

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        assert self.runner.run(self.sqlite.check()) == []
        self.runner.run(self.sqlite.close())
        self.runner.close()
        self.folder.cleanup()
        for patch in self.patches:
            patch.stop()


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, phases=[Phase.generate]
)
