"""What only the event store on disk has to prove: its file, its indexes, its budget, its recovery."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest

from contract.events.samples import NOW, blocked, call, event
from rune.core.events import intake, reads, segments, sqlite, streams, trim
from rune.core.events.base import Appended, Filter, Retention, Span
from rune.core.events.sqlite import SqliteEvents
from rune.errors import FailedPrecondition, ResourceExhausted, Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.db"


@pytest.fixture
def small_segments() -> Iterator[None]:
    """Segments of ten events, two of which share a filter."""
    with (
        mock.patch.object(segments, "SEGMENT", 10),
        mock.patch.object(segments, "GENERATION", 2),
        mock.patch.object(segments, "BITS", 10),
    ):
        yield


@pytest.fixture
async def store(path: Path, small_segments: None) -> AsyncIterator[SqliteEvents]:
    async with SqliteEvents(path) as opened:
        yield opened


async def fill(store: SqliteEvents, count: int, *, organization: str = "default") -> None:
    for number in range(0, count, 5):
        await store.append(
            organization, [event(f"{organization}-{number + n}", ago=count - number - n) for n in range(5)]
        )


async def test_duplicates_are_found_in_every_segment_also_after_a_restart(
    path: Path, store: SqliteEvents
) -> None:
    await fill(store, 65)
    again = [event(f"default-{n}") for n in range(65)]
    assert await store.append("default", again) == Appended(65, 65)
    await store.close()
    async with SqliteEvents(path) as reopened:
        assert await reopened.append("default", [*again, event("new")]) == Appended(66, 65)
        assert (await reopened.tail("default", 65))[0].event.event_id == "new"
        assert await reopened.check() == []


async def test_a_digest_that_two_ids_share_does_not_make_them_one(store: SqliteEvents) -> None:
    def same(keys: Sequence[str], _salt: bytes) -> list[int]:
        return [7] * len(keys)

    with mock.patch("rune.core.events.record.digests", same):
        await fill(store, 30)
        assert await store.append("default", [event("other")]) == Appended(1, 0)
    assert store.positions() == {"default": 31}


async def test_a_query_looks_at_a_bounded_number_of_events(store: SqliteEvents) -> None:
    await store.append("default", [blocked("rare", agent="mail"), *(event(f"a{n}") for n in range(9))])
    await fill(store, 60)
    with mock.patch.object(reads, "BUDGET", 20):
        page = await store.query("default", Filter(blocked=False, agent_id="support"), limit=3)
        assert len(page.events) == 3
        page = await store.query("default", Filter(since=NOW, event_type="scan", blocked=True), limit=3)
        assert [stored.event.event_id for stored in page.events] == ["rare"], "its rarest word leads there"
        first = await store.query("default", Filter(since=NOW), limit=5)
        second = await store.query("default", Filter(since=NOW), limit=20, before=first.before)
    assert len(first.events) + len(second.events) == 10
    assert second.before is None


async def test_a_rare_match_without_a_word_of_its_own_takes_several_short_pages(store: SqliteEvents) -> None:
    await store.append("default", [event("rare")])
    for number in range(6):
        await store.append("default", [blocked(f"{number}-{n}") for n in range(10)])
    pages: list[list[str]] = []
    before = None
    with mock.patch.object(reads, "BUDGET", 20):
        while not pages or before is not None:
            page = await store.query("default", Filter(agent_id="support", blocked=False), before=before)
            pages.append([stored.event.event_id for stored in page.events])
            before = page.before
    assert pages == [[], [], [], ["rare"]]


async def test_a_store_that_is_too_large_drops_the_oldest_in_small_steps(path: Path) -> None:
    with mock.patch.object(segments, "SEGMENT", 500):
        await drop_by_size(path)


async def drop_by_size(path: Path) -> None:
    async with SqliteEvents(path, Retention(max_bytes=400_000)) as store:
        for part in range(4):
            padding = {"padding": "x" * 100}
            batch = [event(f"{part}-{n}", metadata=padding, ago=5 - part) for n in range(1_000)]
            await store.append("acme" if part == 1 else "default", batch)
        steps: list[int] = []
        while gone := await store.trim(NOW):
            steps.append(gone)
        assert max(steps) <= trim.STEP
        assert 500 <= sum(steps) < 4_000
        assert await store.check() == []
        assert (await store.tail("default", 0))[0].position > 1
        (agent,) = await store.agents("default", NOW)
        assert agent.events == 3_000, "what an agent ever did is not forgotten"
        kept = sum([(await store.overview(name, DAY)).events for name in ("default", "acme")])
        assert kept == 4_000 - sum(steps)


DAY = Span(NOW.replace(hour=0, minute=0), NOW.replace(hour=23))


async def test_retention_frees_the_filters_and_digests_of_what_it_drops(
    path: Path, store: SqliteEvents
) -> None:
    await fill(store, 65)
    later = NOW + Retention().max_age * 2
    with mock.patch.object(trim, "STEP", 7):
        while await store.trim(later):
            pass
    assert await store.check() == []
    await store.close()
    with sqlite3.connect(path) as db:
        tables = ("events", "postings", "digests", "segments", "rollups")
        left = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608 - our own tables
    assert left == dict.fromkeys(left, 0)
    db.close()
    async with SqliteEvents(path) as reopened:
        await fill(reopened, 65)
        assert reopened.positions() == {"default": 130}
        assert await reopened.check() == []


async def test_words_past_the_limit_are_counted_together_and_read_as_they_were(store: SqliteEvents) -> None:
    with mock.patch.object(streams, "MAX_WORDS", 2):
        await store.append("default", [call(f"e{n}", f"tool-{n}") for n in range(5)])
    top = await store.top("default", "tool", DAY)
    assert [(line.name, line.events) for line in top] == [("(other)", 3), ("tool-0", 1), ("tool-1", 1)]
    names = [stored.event.tool and stored.event.tool.name for stored in await store.tail("default", 0)]
    assert names == [f"tool-{n}" for n in range(5)]


async def test_a_transaction_that_fails_leaves_no_trace(store: SqliteEvents) -> None:
    await fill(store, 25)
    broken = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING nonsense"
    with (
        mock.patch.object(intake, "INSERT", broken),
        pytest.raises(Unavailable, match="cannot write events.db"),
    ):
        await store.append("acme", [event("a", agent="new"), call("b", "tool")])
    assert store.positions() == {"default": 25}
    assert await store.append("acme", [event("a", agent="new"), call("b", "tool")]) == Appended(2, 0)
    assert await store.check() == []


async def test_callers_past_the_backlog_are_sent_away(store: SqliteEvents) -> None:
    with mock.patch.object(sqlite, "BACKLOG", 10):
        outcomes = await asyncio.gather(
            *(store.append("default", [event(f"{n}-{m}") for m in range(4)]) for n in range(4)),
            return_exceptions=True,
        )
    assert outcomes[:2] == [Appended(4, 0)] * 2
    assert all(isinstance(outcome, ResourceExhausted) for outcome in outcomes[2:])
    assert await store.append("default", [event("later")]) == Appended(1, 0)


async def test_large_events_past_the_backlog_are_sent_away(store: SqliteEvents) -> None:
    with mock.patch.object(sqlite, "BACKLOG_BYTES", 1000):
        outcomes = await asyncio.gather(
            *(store.append("default", [event(f"{n}", metadata={"x": "y" * 600})]) for n in range(4)),
            return_exceptions=True,
        )
    assert outcomes[:2] == [Appended(1, 0)] * 2
    assert all(isinstance(outcome, ResourceExhausted) for outcome in outcomes[2:])
    assert await store.append("default", [event("later")]) == Appended(1, 0)


async def test_a_caller_that_gives_up_before_its_turn_stores_nothing(store: SqliteEvents) -> None:
    given_up = asyncio.ensure_future(store.append("default", [event("a")]))
    async with asyncio.TaskGroup() as group:
        group.create_task(store.tail("default", 0))
        given_up.cancel()
    await store.append("default", [event("b")])
    assert [stored.event.event_id for stored in await store.tail("default", 0)] == ["b"]


async def test_a_check_finds_every_kind_of_disagreement(path: Path, store: SqliteEvents) -> None:
    await fill(store, 25)
    assert await store.check() == []
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE rollups SET events = events + 1 WHERE grain = 1 AND agent = 0")
        db.execute("DELETE FROM postings WHERE segment = (SELECT max(segment) FROM postings)")
        db.execute("UPDATE agents SET blocked = 9")
        db.execute("UPDATE events SET key = 'default-1' WHERE key = 'default-2'")
        db.execute("DELETE FROM digests WHERE segment = (SELECT max(segment) FROM digests)")
        db.execute("UPDATE streams SET dropped = 2")
    db.close()
    async with SqliteEvents(path) as reopened:
        told = {sentence.partition(":")[0] for sentence in await reopened.check()}
    assert told == {"rollups", "postings", "agents", "keys", "digests", "streams"}


async def test_events_that_were_not_counted_when_the_store_ended_are_counted_at_the_next_reading(
    path: Path, store: SqliteEvents
) -> None:
    await fill(store, 25)
    await store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT newest, counted FROM streams").fetchall() == [(25, 0)]
    db.close()
    async with SqliteEvents(path) as reopened:
        assert (await reopened.overview("default", DAY)).events == 25
        await fill(reopened, 25, organization="acme")
        (agent,) = await reopened.agents("acme", NOW)
        assert agent.events == 25
        assert await reopened.check() == []


FIRST_LAYOUT = """
ALTER TABLE streams DROP COLUMN counted;
DROP TABLE postings;
DROP TABLE digests;
CREATE TABLE postings (term INTEGER, id INTEGER, PRIMARY KEY (term, id)) STRICT, WITHOUT ROWID;
CREATE TABLE digests (segment INTEGER, digest INTEGER, id INTEGER, PRIMARY KEY (segment, digest, id))
    STRICT, WITHOUT ROWID;
DROP INDEX segments_by_age;
DELETE FROM rollups WHERE agent = 0 AND type = 0;
PRAGMA user_version = 1;
"""
"""What turns a file into one of the first layout; the indexes are not filled, since they are made again."""


async def test_a_file_of_the_first_layout_is_upgraded(path: Path, store: SqliteEvents) -> None:
    await fill(store, 25)
    assert await store.check() == []
    await store.close()
    with sqlite3.connect(path) as db:
        db.executescript(FIRST_LAYOUT)
    db.close()
    async with SqliteEvents(path) as reopened:
        assert (await reopened.overview("default", DAY)).events == 25
        assert sum([point.events for point in await reopened.timeseries("default", DAY, step="hour")]) == 25
        assert len((await reopened.query("default", Filter(agent_id="support"))).events) == 25
        assert await reopened.append("default", [event("default-3"), event("new")]) == Appended(2, 1)
        assert await reopened.check() == []


async def test_the_file_is_private_and_nobody_elses(path: Path) -> None:
    async with SqliteEvents(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Unavailable, match=r"events\.db\.lock is held by another process"):
            await SqliteEvents(path).__aenter__()
    async with SqliteEvents(path):
        pass


@pytest.mark.parametrize(
    "sql, message",
    [
        ("CREATE TABLE t (a); PRAGMA application_id = 5", "is not an event store of Rune: name another path"),
        ("PRAGMA user_version = 99", "was written by a newer Rune"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_left_alone(path: Path, sql: str, message: str) -> None:
    if "user_version" in sql:
        async with SqliteEvents(path):
            pass
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as db:
        db.executescript(sql)
    db.close()
    with pytest.raises(FailedPrecondition, match=message):
        await SqliteEvents(path).__aenter__()


async def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("nothing of SQLite's" * 1_000)
    with pytest.raises(FailedPrecondition, match="is damaged or no SQLite file"):
        await SqliteEvents(path).__aenter__()


async def test_a_log_without_its_file_is_not_taken_for_a_new_store(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("events.db-wal").write_bytes(b"x")
    with pytest.raises(FailedPrecondition, match="is there without the file"):
        await SqliteEvents(path).__aenter__()
