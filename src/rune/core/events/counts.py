"""The numbers of a store on disk, each from the cells that were counted when the events came in."""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import apsw

from rune.core.events import figures, layout
from rune.core.events.base import Agent, Baseline, Dimension, Overview, Point, Ranked, Span, Step
from rune.core.events.figures import added, mean
from rune.core.events.layout import AGENT
from rune.core.events.reads import Reader
from rune.core.events.record import micros, moment
from rune.core.events.rollups import HALF_LIFE, HOURS, MINUTE, MINUTES, UNIT, WINDOW, Stretch, stretches

SUMS = "sum(events), sum(blocked), sum(threats), sum(risk)"
# The organization's own cells, or an agent's, are the first of each start: one look-up for each start.
STARTS = "WITH RECURSIVE starts(x) AS (VALUES (?3) UNION ALL SELECT x + 1 FROM starts WHERE x + 1 < ?4) "
OF_ONE = "FROM starts CROSS JOIN rollups ON organization = ?1 AND grain = ?2 AND start = x AND agent = ?5 "
OF_EACH = "FROM rollups WHERE organization = ?1 AND grain = ?2 AND start >= ?3 AND start < ?4 AND agent > 0 "

OF_KINDS = f"{OF_ONE} AND type > 0"
KINDS = f"{STARTS} SELECT type, threat, {SUMS} {OF_KINDS} GROUP BY type, threat"
TOTALS = f"{STARTS} SELECT start / ?6, {SUMS} {OF_ONE} AND type = 0 GROUP BY 1"
SERIES = f"{STARTS} SELECT start / ?6, {SUMS} {OF_ONE} GROUP BY 1"
SIZE = f"iif(?2 = {MINUTES}, {MINUTE}, {60 * MINUTE})"
BUSY = (
    f"{STARTS} SELECT agent FROM agents a WHERE organization = ?1"
    f" AND last_seen >= ?3 * {SIZE} AND first_seen < ?4 * {SIZE}"
    " AND EXISTS (SELECT 1 FROM starts CROSS JOIN rollups r"
    " ON r.organization = ?1 AND r.grain = ?2 AND r.start = x AND r.agent = a.agent)"
)
"""Agents with a cell in a stretch: mostly one look-up each, as who sends at all sends in its first step."""
BY_AGENT = f"SELECT agent, sum(events), sum(blocked) {OF_EACH} GROUP BY agent"
BY_COLUMN = {
    "threat": f"{STARTS} SELECT threat, sum(events), sum(blocked) {OF_KINDS} GROUP BY threat",
    "type": f"{STARTS} SELECT type, sum(events), sum(blocked) {OF_KINDS} GROUP BY type",
    "tool": f"{STARTS} SELECT tool, sum(events), sum(blocked) {OF_KINDS} GROUP BY tool",
}
ACTIVITY = (
    f"{STARTS} SELECT agent, start, {SUMS} FROM json_each(?5) asked CROSS JOIN starts CROSS JOIN rollups"
    " ON organization = ?1 AND grain = ?2 AND start = x AND agent = asked.value GROUP BY agent, start"
)
MIX = f"{STARTS} SELECT start, type, threat, tool, events, blocked, threats, risk {OF_ONE} ORDER BY start"
OF_MINUTES = "FROM rollups WHERE organization = ?1 AND grain = 0"
EXTENT = f"SELECT (SELECT min(start) {OF_MINUTES}), (SELECT max(start) + 1 {OF_MINUTES})"
AGENTS = (
    "SELECT agent, framework, events, blocked, first_seen, last_seen FROM agents"
    " WHERE organization = ?1 AND (?2 = 0 OR agent = ?2)"
)
WEIGHT = f"CAST(round({UNIT} * pow(0.5, max(?3 - start, 0) / {HALF_LIFE})) AS INTEGER)"
RISKS = (
    f"SELECT agent, sum(risk * {WEIGHT}), sum(events * {WEIGHT}) FROM rollups"
    f" WHERE organization = ?1 AND grain = 0 AND start > ?3 - {WINDOW}"
    " AND iif(?2 = 0, agent > 0, agent = ?2) GROUP BY agent"
)


class Counts:
    """Answers from one reader, in its thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def overview(self, organization: str, span: Span) -> Overview:
        """The numbers of a time."""
        with layout.snapshot(self._reader.db) as db:
            code = self._reader.code(organization)
            parts = self._parts(code, *figures.whole(span))
            rows = [row for part in parts for row in layout.rows(db, KINDS, (code, *part, 0))]
            busy = {row for part in parts for row in layout.rows(db, BUSY, (code, *part))}
        events, blocked, threats, risk = (sum(row[column] for row in rows) for column in range(2, 6))
        return Overview(
            events=events,
            blocked=blocked,
            threats=threats,
            risk_score=mean(risk, events),
            agents=len(busy),
            by_type=self._named((row[0], row[2]) for row in rows),
            by_threat=self._named((row[1], row[2]) for row in rows),
        )

    def timeseries(self, organization: str, span: Span, *, step: Step, agent_id: str) -> list[Point]:
        """A point for every step."""
        first, end = figures.steps(span, step)
        size = figures.MINUTES_OF[step]
        with layout.snapshot(self._reader.db) as db:
            code = self._reader.code(organization)
            agent = self._reader.term(code, AGENT, agent_id) if agent_id else 0
            within = self._within(code, first * size, end * size)
            if (agent_id and not agent) or within is None:
                return figures.points(first, end, step=step, sums={})
            part = Stretch(MINUTES, *within) if step == "minute" else _hours(*within)
            size = size if step == "minute" else size // 60
            rows = layout.rows(db, SERIES if agent else TOTALS, (code, *part, agent, size))
            sums = {number: tuple(rest) for number, *rest in rows}
        return figures.points(first, end, step=step, sums=sums)

    def top(self, organization: str, what: Dimension, span: Span, *, limit: int) -> list[Ranked]:
        """The most frequent first."""
        with layout.snapshot(self._reader.db) as db:
            code = self._reader.code(organization)
            if what == "tool":
                parts = self._whole_hours(code, span)
            else:
                parts = self._parts(code, *figures.whole(span))
            rows = [row for part in parts for row in self._top(db, what, code=code, part=part)]
        return figures.ranked(added(rows), limit)

    def agents(self, organization: str, now: datetime, agent_id: str) -> list[Agent]:
        """Every agent, or one."""
        minute = micros(now) // MINUTE
        with layout.snapshot(self._reader.db) as db:
            code = self._reader.code(organization)
            one = self._reader.term(code, AGENT, agent_id) if agent_id else 0
            if agent_id and not one:
                return []
            risks = {agent: sums for agent, *sums in layout.rows(db, RISKS, (code, one, minute))}
            rows = list(layout.rows(db, AGENTS, (code, one)))
        agents = [
            Agent(
                agent_id=self._reader.word(agent),
                framework=framework,
                events=events,
                blocked=blocked,
                first_seen=moment(first),
                last_seen=moment(last),
                risk_score=figures.weighted(*risks.get(agent, (0, 0))),
            )
            for agent, framework, events, blocked, first, last in rows
        ]
        return sorted(agents, key=lambda agent: agent.agent_id)

    def baseline(self, organization: str, agent_id: str, span: Span) -> Baseline:
        """An agent's hours and its mix."""
        with layout.snapshot(self._reader.db) as db:
            code = self._reader.code(organization)
            agent = self._reader.term(code, AGENT, agent_id)
            parts = self._whole_hours(code, span) if agent else []
            rows = [row for part in parts for row in layout.rows(db, MIX, (code, *part, agent))]
        hours: dict[int, list[int]] = {}
        for start, _, _, _, *sums in rows:
            before = hours.setdefault(start, [0, 0, 0, 0])
            hours[start] = [one + other for one, other in zip(before, sums, strict=True)]
        return Baseline(
            hours=figures.hours(hours),
            types=self._named((row[1], row[4]) for row in rows),
            threats=self._named((row[2], row[4]) for row in rows),
            tools=self._named((row[3], row[4]) for row in rows),
        )

    def activity(self, organization: str, agent_ids: Sequence[str], span: Span) -> dict[str, Sequence[Point]]:
        """The hours of several agents, by one look at the cells of each hour."""
        first, end = figures.steps(span, "hour")
        sums: dict[str, dict[int, figures.Sums]] = {name: {} for name in agent_ids if name}
        with layout.snapshot(self._reader.db) as db:
            code = self._reader.code(organization)
            terms = {self._reader.term(code, AGENT, name): name for name in sums}
            asked = f"[{','.join(str(term) for term in terms if term)}]"
            for part in self._whole_hours(code, span):
                for agent, start, *rest in layout.rows(db, ACTIVITY, (code, *part, asked)):
                    sums[terms[agent]][start] = tuple(rest)
        return {name: figures.points(first, end, step="hour", sums=each) for name, each in sums.items()}

    def _top(
        self, db: apsw.Connection, what: Dimension, *, code: int, part: Stretch
    ) -> Iterator[tuple[str, int, int]]:
        if what == "agent":
            rows = layout.rows(db, BY_AGENT, (code, *part))
        else:
            rows = layout.rows(db, BY_COLUMN[what], (code, *part, 0))
        for term, events, blocked in rows:
            yield self._reader.word(term), events, blocked

    def _within(self, code: int, since: int, until: int) -> tuple[int, int] | None:
        """The minutes of a time that have events at all; None when there are none."""
        first, end = next(layout.rows(self._reader.db, EXTENT, (code,)))
        if first is None:
            return None
        since, until = max(since, first), min(until, end)
        return (since, until) if since < until else None

    def _parts(self, code: int, since: int, until: int) -> list[Stretch]:
        within = self._within(code, since, until)
        return stretches(*within) if within else []

    def _whole_hours(self, code: int, span: Span) -> list[Stretch]:
        within = self._within(code, *(hour * 60 for hour in figures.whole(span, 60)))
        return [_hours(*within)] if within else []

    def _named(self, rows: Iterable[tuple[int, int]]) -> dict[str, int]:
        """Counts by word, the most frequent first; those without a word are left out."""
        counts = added((self._reader.word(term), events, 0) for term, events in rows if term)
        return {line.name: line.events for line in figures.ranked(counts, figures.MAX_RANKS)}


def _hours(since: int, until: int) -> Stretch:
    """The whole hours that so many minutes touch."""
    return Stretch(HOURS, since // 60, -(-until // 60))
