"""What the keeper writes down is what readers get back, whatever the chunks, sizes and failures."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rune.orchestrator.runners.base import LogLine
from rune.orchestrator.runners.inotify import Watch
from rune.orchestrator.runners.keeper.journal import Journal, Limits, Stamps, numbers, path
from rune.orchestrator.runners.logs import Reader


def journal(folder: Path, *, size: int = 1 << 20, files: int = 4) -> Journal:
    return Journal(str(folder), Limits(size, files), Stamps())


def read(
    folder: Path, *, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
) -> list[LogLine]:
    async def collect() -> list[LogLine]:
        reader = Reader("i", folder, since=since, until=until)
        try:
            kept = [line async for batch in reader.kept(tail) for line in batch]
            return kept + reader.rest()
        finally:
            reader.close()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(collect())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def texts(folder: Path, *, tail: int | None = None) -> list[str]:
    return [line.text for line in read(folder, tail=tail)]


async def read_on(folder: Path, count: int, meanwhile: Callable[[], None]) -> list[str]:
    """The first `count` lines of a follower, after whose first batch something happens."""
    reader, found = Reader("i", folder, since=None, until=None), list[str]()
    try:
        async for batch in reader.kept(None):
            if not found:
                meanwhile()
            found += [line.text for line in batch]
        async with aclosing(reader.follow(Watch(), lambda: datetime.now(UTC))) as batches:
            while len(found) < count:
                found += [line.text for line in await anext(batches)]
    finally:
        reader.close()
    return found


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, over and over."""
    pieces: list[bytes] = []
    while data:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@given(
    lines=st.lists(st.text(alphabet="aä€ \t", max_size=12), max_size=30),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    size=st.integers(60, 2000),
)
@settings(deadline=None, max_examples=60)
def test_any_lines_in_any_chunks_are_read_back_whole(lines: list[str], sizes: list[int], size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        written = journal(Path(name), size=size, files=100_000)
        for piece in cut("".join(f"{line}\n" for line in lines).encode(), sizes):
            written.write(b"stdout", piece)
        written.close()
        assert texts(Path(name)) == lines


@given(
    lines=st.lists(st.tuples(st.sampled_from([b"stdout", b"stderr"]), st.booleans()), max_size=40),
    tail=st.integers(0, 45),
    size=st.integers(60, 1000),
)
@settings(deadline=None, max_examples=60)
def test_any_tail_is_the_end_of_the_whole(lines: list[tuple[bytes, bool]], tail: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        written = journal(Path(name), size=size, files=100_000)
        for number, (stream, split) in enumerate(lines):
            line = b"line %d\n" % number
            for piece in (line[:3], line[3:]) if split else (line,):
                written.write(stream, piece)
        written.close()
        every = texts(Path(name))
        assert every == [f"line {number}" for number in range(len(lines))]
        assert texts(Path(name), tail=tail) == (every[-tail:] if tail else [])


@given(count=st.integers(1, 40), size=st.integers(60, 1000), data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_times_choose_what_a_filter_would(count: int, size: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        written = journal(Path(name), size=size, files=100_000)
        for number in range(count):
            written.write(b"stdout", b"%d\n" % number)
        written.close()
        every = read(Path(name))
        edges = [
            every[0].at - timedelta(days=1),
            *(line.at for line in every),
            every[-1].at + timedelta(days=1),
        ]
        since, until = data.draw(st.sampled_from(edges)), data.draw(st.sampled_from(edges))
        tail = data.draw(st.none() | st.integers(0, 10))
        # Records have nanoseconds and answers microseconds, so an edge may fall inside a microsecond.
        sure = [line for line in every if since < line.at < until]
        may = [line for line in every if since <= line.at <= until]
        found = read(Path(name), since=since, until=until, tail=tail)
        if tail is None:
            assert len(sure) <= len(found) <= len(may)
        else:
            assert min(tail, len(sure)) <= len(found) <= min(tail, len(may))
        assert set(map(str, found)) <= set(map(str, may))


def test_a_log_never_takes_more_than_its_files(tmp_path: Path) -> None:
    written = journal(tmp_path, size=1000, files=3)
    for number in range(500):
        written.write(b"stdout", b"line %d\n" % number)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3000
    written.close()
    kept = texts(tmp_path)
    assert kept == [f"line {number}" for number in range(500 - len(kept), 500)]
    assert len(kept) > 30


def test_a_line_past_64_kib_comes_in_parts_of_whole_characters(tmp_path: Path) -> None:
    written = journal(tmp_path)
    line = "x" + "€" * 50_000
    for piece in cut(line.encode() + b"\nnext\n", [65536]):
        written.write(b"stdout", piece)
    written.close()
    *parts, rest, following = read(tmp_path)
    assert [part.partial for part in parts] == [True] * 2
    assert not rest.partial
    assert "".join(part.text for part in [*parts, rest]) == line
    assert following.text == "next"


def test_a_line_without_an_end_is_shown_as_part_and_ended_with_its_stream(tmp_path: Path) -> None:
    written = journal(tmp_path)
    written.write(b"stdout", b"password: ")
    assert [(line.text, line.partial) for line in read(tmp_path)] == [("password: ", True)]
    written.finish(b"stdout")
    written.write(b"stdout", b"next\n")
    written.close()
    assert [(line.text, line.partial) for line in read(tmp_path)] == [("password: ", False), ("next", False)]


def test_the_next_journal_knows_which_line_had_not_ended(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.write(b"stdout", b"half")
    first.close()
    second = journal(tmp_path)
    second.finish(b"stdout")
    second.finish(b"stderr")
    second.write(b"stdout", b"next\n")
    second.close()
    assert texts(tmp_path) == ["half", "next"]


def test_a_record_torn_by_a_crash_costs_only_itself(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.write(b"stdout", b"one\n")
    first.close()
    with (tmp_path / "00000001.log").open("ab") as file:
        file.write(b"2026-11-23T03:0")
    second = journal(tmp_path)
    second.write(b"stdout", b"two\n")
    second.close()
    assert texts(tmp_path) == ["one", "two"]


def test_garbage_is_kept_as_far_as_it_is_text(tmp_path: Path) -> None:
    written = journal(tmp_path)
    written.write(b"stdout", b"\xff\x00\xfe\r\n\n2026 stdout F no\n")
    written.close()
    assert texts(tmp_path) == ["\ufffd\x00\ufffd\r", "", "2026 stdout F no"]


def test_lines_that_find_no_room_are_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = journal(tmp_path)
    written.write(b"stdout", b"before\n")
    whole = os.write

    def full(fd: int, data: bytes) -> int:
        return whole(fd, data[:10])

    def fuller(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    written.write(b"stdout", b"lost 1\nlost 2\n")
    monkeypatch.setattr(os, "write", fuller)
    written.write(b"stderr", b"lost 3\n")
    monkeypatch.setattr(os, "write", whole)
    written.write(b"stdout", b"after\n")
    written.close()
    before, notice, after = read(tmp_path)
    assert (before.text, after.text) == ("before", "after")
    assert notice.stream == "stderr"
    assert (
        notice.text
        == "[rune] lines lost here because the log could not be written: 3 (No space left on device)"
    )


def test_a_clock_that_goes_back_does_not_take_the_log_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = Stamps()
    first = stamps.next()
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert first < stamps.next() < stamps.next()


def test_times_are_utc(tmp_path: Path) -> None:
    written = journal(tmp_path)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    written.write(b"stdout", b"x\n")
    written.close()
    assert before < read(tmp_path)[0].at < datetime.now(UTC) + timedelta(milliseconds=1)
    assert numbers(str(tmp_path)) == [1]


@pytest.fixture
def half_written(tmp_path: Path) -> Callable[[], None]:
    """A log of 5,000 lines whose last record is half there; a call writes the rest and a second file."""
    first = journal(tmp_path, size=1 << 30)
    for number in range(5000):
        first.write(b"stdout", b"line %d that is long enough to fill a few blocks\n" % number)
    first.close()
    file = tmp_path / "00000001.log"
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])

    def rest() -> None:
        with file.open("ab") as end:
            end.write(whole[-30:])
        second = journal(tmp_path, size=1000)
        second.write(b"stdout", b"line 5000 of the next file\n")
        second.close()

    return rest


@pytest.mark.timeout(5)
async def test_a_record_that_is_half_written_when_a_reader_comes_is_read_when_it_is_whole(
    tmp_path: Path, half_written: Callable[[], None]
) -> None:
    found = await read_on(tmp_path, 5001, half_written)
    assert [int(line.split()[1]) for line in found] == list(range(5001))
    assert numbers(str(tmp_path)) == [1, 2]


@pytest.mark.usefixtures("half_written")
def test_the_tail_of_a_log_that_is_being_written_ends_with_its_last_whole_record(tmp_path: Path) -> None:
    assert [line.split()[1] for line in texts(tmp_path, tail=3)] == ["4996", "4997", "4998"]


@pytest.mark.parametrize("limits", [{"tail": 300}, {"since": datetime(2026, 1, 1, tzinfo=UTC)}])
def test_a_file_that_is_deleted_while_a_reader_looks_for_its_place_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any]
) -> None:
    written = journal(tmp_path, size=2000)
    for number in range(100):
        written.write(b"stdout", b"line %d\n" % number)
    written.close()
    kept = numbers(str(tmp_path))
    Path(path(str(tmp_path), kept[0])).unlink()  # the keeper was faster than the reader, who listed it

    def listed(_: str) -> list[int]:
        return kept

    monkeypatch.setattr("rune.orchestrator.runners.logs.numbers", listed)
    found = [int(line.text.split()[1]) for line in read(tmp_path, **limits) if line.text[0] == "l"]
    assert found == list(range(found[0], 100))
    assert found[0] > 0


@pytest.mark.parametrize("begun", [b"", b"2026", b"2999-01-01T00:00:00.000000000Z stdout F tor"])
def test_a_next_file_that_has_no_whole_line_yet_hides_nothing_of_the_one_before(
    tmp_path: Path, begun: bytes
) -> None:
    written = journal(tmp_path)
    for number in range(10):
        written.write(b"stdout", b"line %d\n" % number)
    written.close()
    (tmp_path / "00000002.log").write_bytes(begun)
    every = read(tmp_path)
    assert read(tmp_path, since=every[4].at) == every[4:]
    later = every[-1].at + timedelta(days=1)
    assert read(tmp_path, since=later) == []
    assert read(tmp_path, until=later, tail=2) == every[-2:]
