"""Reads what the keeper wrote down: from the end, from a time, and on and on, at the reader's own pace.

A reader holds a file and an offset and nothing else, so one that stalls costs nobody anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from rune.orchestrator.runners.base import LogLine
from rune.orchestrator.runners.inotify import Watch
from rune.orchestrator.runners.keeper.journal import numbers, path

BLOCK = 256 * 1024
"""Bytes read at once; also about the size of a batch."""

STEP = 16 * 1024
"""Bytes in which a search by time looks for the next record at first."""

LONGEST = 64 * 1024
"""Bytes of a line after which the rest comes as a line of its own."""

PATIENCE = 1.0
"""Seconds after which a follower is given a line that has not ended, such as a prompt."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reader:
    """One pass over one instance's log, from oldest to newest."""

    def __init__(
        self, instance: str, folder: Path, *, since: datetime | None, until: datetime | None
    ) -> None:
        self._instance = instance
        self._folder = str(folder)
        self._identity = os.stat(folder).st_ino
        self._since = stamp(since) if since else b""
        self._until = stamp(until) if until else b"~"
        self._until_time = until
        self._number = 0
        self._offset = 0
        self._fd = -1
        self._parts: dict[bytes, bytes] = {}
        self._last: datetime | None = None
        self._done = False

    async def kept(self, tail: int | None) -> AsyncGenerator[Sequence[LogLine]]:
        """What is there now: all of it, or the last `tail` lines of it."""
        await asyncio.to_thread(self._seek, tail)
        end = await asyncio.to_thread(self._end)
        while not self._done and (self._number, self._offset) < end:
            batch = await asyncio.to_thread(self._read, end)
            if batch is None:
                return
            if batch:
                yield batch

    async def follow(self, watch: Watch, now: Callable[[], datetime]) -> AsyncGenerator[Sequence[LogLine]]:
        """What comes from now on, until the end time, or until the folder is gone or nobody wakes us."""
        while not self._done and not watch.closed:
            watch.changed.clear()
            batch = self._read(None)
            if batch:
                yield batch
                await asyncio.sleep(0)
            elif batch is None and not await self._more(watch, now) and self._parts:
                yield self.rest()

    def rest(self) -> list[LogLine]:
        """Lines that have not ended, as far as they go; they count as given."""
        at = self._last or EPOCH
        parts, self._parts = self._parts, {}
        return [
            LogLine(instance=self._instance, at=at, stream=stream.decode(), text=words_of(text), partial=True)
            for stream, text in parts.items()
            if text
        ]

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _more(self, watch: Watch, now: Callable[[], datetime]) -> bool:
        """Wait for a change; False when there is none and an unfinished line should be shown."""
        if self._gone():
            self._done = True
            return False
        patience = PATIENCE if self._parts else None
        left = (self._until_time - now()).total_seconds() if self._until_time else None
        if left is not None and left <= 0:
            self._done = True
            return False
        waits = [seconds for seconds in (patience, left) if seconds is not None]
        try:
            async with asyncio.timeout(min(waits, default=None)):
                await watch.changed.wait()
        except TimeoutError:
            return False
        return True

    def _gone(self) -> bool:
        """Removed, or removed and started anew: this reader's log is complete."""
        try:
            return os.stat(self._folder).st_ino != self._identity
        except FileNotFoundError:
            return True

    # -- one block ------------------------------------------------------------------------------------

    def _read(self, end: tuple[int, int] | None) -> list[LogLine] | None:
        """The lines of the next block; None when there is nothing more for now."""
        following = [] if self._gone() else [n for n in numbers(self._folder) if n > self._number]
        data = self._block(end)
        if data:
            return list(self._lines(data))
        if not following:
            return None
        skipped = following[0] - self._number - 1
        self._open(following[0], 0)
        return [self._notice(skipped)] if skipped and self._last else []

    def _block(self, end: tuple[int, int] | None) -> bytes:
        """Whole records from where we are."""
        if self._fd < 0:
            return b""
        size = BLOCK
        if end and end[0] == self._number:
            size = min(BLOCK, end[1] - self._offset)
        data = os.pread(self._fd, size, self._offset)
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        return data

    def _lines(self, data: bytes) -> Iterator[LogLine]:
        at, before = self._last, b""
        for record in data[:-1].split(b"\n"):
            words = record.split(b" ", 3)
            if len(words) != 4 or words[0] < self._since:  # noqa: PLR2004 - torn by a crash, or too old
                continue
            if words[0] >= self._until:
                self._done = True
                return
            if words[0] != before:
                before = words[0]
                at = self._last = datetime.fromisoformat(before.decode())
            if at:
                yield from self._line(at, words)

    def _line(self, at: datetime, words: list[bytes]) -> Iterator[LogLine]:
        _, stream, tag, text = words
        name = stream.decode(errors="replace")
        if self._parts:
            text = self._parts.pop(stream, b"") + text
        while len(text) > LONGEST:
            cut = boundary(text, LONGEST)
            yield LogLine(
                instance=self._instance, at=at, stream=name, text=words_of(text[:cut]), partial=True
            )
            text = text[cut:]
        if tag == b"P":
            self._parts[stream] = text
        else:
            yield LogLine(instance=self._instance, at=at, stream=name, text=words_of(text))

    def _notice(self, skipped: int) -> LogLine:
        self._parts.clear()
        text = f"[rune] this reader fell behind: {skipped} files of the log were deleted before it came there"
        return LogLine(instance=self._instance, at=self._last or EPOCH, stream="stderr", text=text)

    # -- where to begin -------------------------------------------------------------------------------

    def _seek(self, tail: int | None) -> None:
        files = numbers(self._folder)
        first = self._begin(files, self._since) if self._since else (files[0] if files else 0, 0)
        if tail is not None:
            last = self._end() if self._until_time is None else self._begin(files, self._until)
            first = max(first, self._back(files, last, tail))
        self._open(*first)

    def _end(self) -> tuple[int, int]:
        files = numbers(self._folder)
        return (files[-1], size(self._folder, files[-1])) if files else (0, 0)

    def _begin(self, files: Sequence[int], wanted: bytes) -> tuple[int, int]:
        """Where the first record of this time or later is, found by halves: stamps never go back."""
        whole = {number: size(self._folder, number) for number in files}
        earlier = (n for n in reversed(files) if b"" < self._stamp(n, 0, whole[n])[0] < wanted)
        number = next(earlier, 0)
        if not number:
            return (files[0] if files else 0, 0)
        low, high = 0, whole[number]
        while high - low > 1:
            middle = (low + high) // 2
            found, at = self._stamp(number, middle, whole[number])
            if found and found < wanted:
                low = at
            else:
                high = middle
        return number, self._after(number, low)

    def _after(self, number: int, offset: int) -> int:
        """The place after the record that begins at `offset`."""
        return offset + self._part(number, offset, BLOCK).find(b"\n") + 1

    def _stamp(self, number: int, offset: int, end: int) -> tuple[bytes, int]:
        """The time of the first record that begins after `offset` (or at 0), and its place; no time when
        it would begin at `end`, or its file is gone.
        """
        step = STEP
        data = self._part(number, offset, step)
        while offset and b"\n" not in data and len(data) == step:
            step *= 4
            data = self._part(number, offset, step)
        start = offset + data.find(b"\n") + 1 if offset else 0
        stamped = self._part(number, start, 40) if start < end else b""
        return stamped.partition(b" ")[0], start

    def _part(self, number: int, offset: int, length: int) -> bytes:
        """Bytes of a file; none when it is gone, as the oldest may be at any time."""
        try:
            with open(path(self._folder, number), "rb") as file:
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:
            return b""

    def _back(self, files: Sequence[int], last: tuple[int, int], tail: int) -> tuple[int, int]:
        """Where the last `tail` lines before a place begin, read backwards block by block."""
        if tail <= 0:
            return last
        wanted = tail
        unfinished: set[bytes] = set()
        seen: set[bytes] = set()
        for number in reversed([n for n in files if n <= last[0]]):
            high = last[1] if number == last[0] else size(self._folder, number)
            for place, stream, tag in self._records_back(number, high):
                if tag == b"F" or stream not in seen:
                    wanted -= 1
                    (unfinished.add if tag == b"P" else unfinished.discard)(stream)
                seen.add(stream)
                if wanted < 0:
                    return number, place
        return (files[0] if files else 0, 0)

    def _records_back(self, number: int, high: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Records from the end, each with the place after it; none of a file that is gone."""
        with suppress(FileNotFoundError), open(path(self._folder, number), "rb") as file:
            rest = b""
            while high > 0:
                low = max(high - BLOCK // 4, 0)
                file.seek(low)
                data = file.read(high - low) + rest
                first = data.find(b"\n") + 1 if low else 0
                place = low + len(data)
                for record in reversed(data[first:].split(b"\n")[:-1]):
                    words = record[:64].split(b" ", 3)
                    if len(words) == 4:  # noqa: PLR2004 - not torn by a crash
                        yield place, words[1], words[2]
                    place -= len(record) + 1
                rest, high = data[:first], low

    def _open(self, number: int, offset: int) -> None:
        self.close()
        self._number, self._offset = number, offset
        try:
            self._fd = os.open(path(self._folder, number), os.O_RDONLY)
        except FileNotFoundError:
            self._fd = -1


def stamp(at: datetime) -> bytes:
    """A time in the form of the records, which compare as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


def boundary(text: bytes, limit: int) -> int:
    """At most `limit`, but not in the middle of a character."""
    for cut in range(limit, limit - 4, -1):
        if text[cut] & 0xC0 != 0x80:  # noqa: PLR2004 - not a continuation byte of UTF-8
            return cut
    return limit


def words_of(text: bytes) -> str:
    """Text, with U+FFFD for what is none."""
    return text.decode(errors="replace")


def size(folder: str, number: int) -> int:
    """How many bytes of a file are whole records: its last one may be half written. 0 when it is gone."""
    try:
        with open(path(folder, number), "rb") as file:
            length = file.seek(0, os.SEEK_END)
            start = max(length - BLOCK, 0)
            file.seek(start)
            return start + file.read(length - start).rfind(b"\n") + 1
    except FileNotFoundError:
        return 0
