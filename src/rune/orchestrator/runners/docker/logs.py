"""Reads what containers wrote, from the Engine's own files, across the attempts that are kept.

The Engine sends frames: stream, length, then a time to the nanosecond and the text. A reader knows the
time of the last frame it saw, so that it can go on there when the Engine was away.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rune.errors import NotFound, Unavailable
from rune.orchestrator.runners.base import LogLine, State
from rune.orchestrator.runners.docker.engine import Engine, Refused, chunks
from rune.orchestrator.runners.docker.ledger import Ledger
from rune.orchestrator.runners.docker.watch import Watch

if TYPE_CHECKING:
    from aiohttp import ClientResponse

HEADER = struct.Struct(">BxxxL")
STREAMS = {1: "stdout", 2: "stderr"}
ENGINE = 3
"""The stream of the Engine's own words, which have no time: why it cannot go on reading, mostly."""

STAMP = len("2026-01-01T00:00:00.000000000Z ")

WHOLE = 64 * 1024
"""Bytes up to which the pieces of a line are put together; the Engine cuts lines into 16 KiB."""

NANOS = 1_000_000_000

AGAIN = 5.0
"""Seconds until a stream that ended, of a container that seems to run, is asked for again."""

NOT_FOUND, CONFLICT = 404, 409


class Window(NamedTuple):
    """The times that are wanted: from `since` on, and before `until`."""

    since: datetime | None
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether a line of this time is wanted."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(slots=True)
class Place:
    """How far one container's log was read."""

    instance: str
    nanos: int = 0
    """The time of the last frame."""
    count: int = 0
    """Frames of that very time."""
    skip: int = 0
    """Frames of that time that come again."""
    rest: bytes = b""
    parts: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    def resume(self) -> None:
        """The Engine will begin with the frames of the last time once more."""
        self.skip, self.count, self.rest = self.count, 0, b""

    def feed(self, chunk: bytes) -> Iterator[LogLine]:
        """The lines that are whole by now."""
        data, at = self.rest + chunk, 0
        while len(data) - at >= HEADER.size:
            stream, length = HEADER.unpack_from(data, at)
            end = at + HEADER.size + length
            if end > len(data):
                break
            payload, at = data[at + HEADER.size : end], end
            told = STREAMS.get(stream, "stdout")
            line = self._told(payload) if stream == ENGINE else self._frame(told, payload)
            if line:
                yield line
        self.rest = data[at:]

    def _told(self, payload: bytes) -> LogLine:
        text = f"[rune] the Docker Engine: {payload.decode(errors='replace').strip()}"
        return LogLine(instance=self.instance, at=_moment(self.nanos), stream="stderr", text=text)

    def _frame(self, stream: str, payload: bytes) -> LogLine | None:
        nanos = _nanos(payload[: STAMP - 1].decode("ascii"))
        if nanos == self.nanos:
            self.count += 1
            if self.count <= self.skip:
                return None
        else:
            self.nanos, self.count, self.skip = nanos, 1, 0
        text = payload[STAMP:]
        parts = self.parts.setdefault(stream, [])
        parts.append(text.removesuffix(b"\n"))
        partial = not text.endswith(b"\n")
        if partial and sum(map(len, parts)) < WHOLE:
            return None
        del self.parts[stream]
        at = _moment(nanos)
        whole = b"".join(parts).decode(errors="replace")
        return LogLine(instance=self.instance, at=at, stream=stream, text=whole, partial=partial)


class Reader:
    """Reads an instance's logs: the kept attempts one after the other, then the running one as it goes."""

    def __init__(self, engine: Engine, ledger: Ledger, watch: Watch, *, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._ledger = ledger
        self._watch = watch
        self._now = now

    async def read(
        self, instance: str, window: Window, *, tail: int | None, follow: bool
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """Batches, oldest first."""
        self._watch.require()
        if self._ledger.seen(instance).state is State.ABSENT:
            raise NotFound(f"instance {instance!r} has no logs on this Docker Engine")
        places: dict[int, Place] = {}
        async with aclosing(self._kept(instance, window, tail, places=places)) as kept:
            try:
                async for batch in kept:
                    yield batch
            except Unavailable:
                newest, _ = self._ledger.containers(instance)[-1]
                if not follow or tail is not None or newest not in places:
                    raise  # otherwise what follows goes on from where this broke off
        if follow:
            live = self._live(instance, window, places)
            async with aclosing(self._before(live, window.until)) as batches:
                async for batch in batches:
                    yield batch

    async def _kept(
        self, instance: str, window: Window, tail: int | None, *, places: dict[int, Place]
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """What is there now; `places` is how far that was."""
        attempts = self._ledger.containers(instance)
        if tail is None:
            for attempt, container in attempts:
                place = places[attempt] = Place(instance)
                async for batch in self._request(container, place, window):
                    yield batch
            return
        pieces: list[Sequence[LogLine]] = []
        for attempt, container in reversed(attempts):
            if tail <= 0:
                places.setdefault(attempt, Place(instance, nanos=int(self._now().timestamp() * NANOS)))
                break
            place = places[attempt] = Place(instance)
            piece: deque[LogLine] = deque(maxlen=tail)
            async for batch in self._request(container, place, window, tail=tail):
                piece.extend(batch)
            pieces.append(piece)
            tail -= len(piece)
        for lines in reversed(pieces):
            yield list(lines)

    async def _live(
        self, instance: str, window: Window, places: dict[int, Place]
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """What comes, attempt by attempt, until the instance is removed; patient while the Engine is away."""
        attempt = max(places, default=-1)
        while True:
            changed = self._ledger.changed(instance)
            if self._ledger.seen(instance).state is State.ABSENT:
                return
            kept = dict(self._ledger.containers(instance))
            over = self._over(instance, attempt)
            place = places.setdefault(attempt, Place(instance))
            try:
                async for batch in self._request(kept.get(attempt, ""), place, window, follow=True):
                    yield batch
            except Unavailable:
                await self._watch.back()
                continue
            following = [later for later in sorted(kept) if later > attempt]
            if over and following:
                attempt = following[0]
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if over else AGAIN):
                    await changed.wait()

    def _over(self, instance: str, attempt: int) -> bool:
        """Whether nothing can be added to the log of this attempt."""
        seen = self._ledger.seen(instance)
        return seen.attempt != attempt or seen.state is not State.RUNNING

    async def _before(
        self, batches: AsyncGenerator[Sequence[LogLine]], until: datetime | None
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """The same, given up when the time is reached."""
        async with aclosing(batches):
            while batch := await self._next(batches, until):
                yield batch

    async def _next(
        self, batches: AsyncGenerator[Sequence[LogLine]], until: datetime | None
    ) -> Sequence[LogLine]:
        """Nothing at the end, or when the time is reached."""
        left = (until - self._now()).total_seconds() if until else None
        try:
            async with asyncio.timeout(left):
                return await anext(batches)
        except (TimeoutError, StopAsyncIteration):
            return ()

    async def _request(
        self, container: str, place: Place, window: Window, *, tail: int | None = None, follow: bool = False
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """One reading, from its place on; nothing when the container is gone."""
        if not container:
            return
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow))}
        params |= _times(place, window, tail)
        place.resume()
        path = f"containers/{container}/logs"
        try:
            async with self._engine.stream("GET", path, what="show a log", params=params) as response:
                async for batch in _batches(response, place, window):
                    yield batch
        except Refused as error:
            if error.status not in {NOT_FOUND, CONFLICT}:
                raise


async def _batches(
    response: ClientResponse, place: Place, window: Window
) -> AsyncGenerator[Sequence[LogLine]]:
    async for chunk in chunks(response):
        if lines := [line for line in place.feed(chunk) if window.holds(line.at)]:
            yield sorted(lines, key=_time)  # two streams, two writers: they may be a hair out of order


def _times(place: Place, window: Window, tail: int | None) -> dict[str, str]:
    """From where to where. The Engine takes its tail before it looks at `until`, so that one is ours then."""
    since = int(window.since.timestamp() * NANOS) if window.since else 0
    found = {"since": _seconds(max(since, place.nanos))} if since or place.nanos else {}
    if window.until is None and tail is not None:
        found["tail"] = str(tail)
    return found


def _seconds(nanos: int) -> str:
    return f"{nanos // NANOS}.{nanos % NANOS:09d}"


def _time(line: LogLine) -> datetime:
    return line.at


def _moment(nanos: int) -> datetime:
    return datetime.fromtimestamp(nanos // NANOS, UTC).replace(microsecond=nanos % NANOS // 1000)


def _nanos(stamp: str) -> int:
    """Nanoseconds since 1970 of a time as the Engine writes it, always with nine digits."""
    seconds = int(datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp())
    return seconds * NANOS + int(stamp[20:29])
