"""Streams: events are held back until what they say has been scanned, so that nothing slips out in pieces.

Held are the last `HOLD` characters of each text, any word that is not finished yet (up to `LONGEST_WORD`,
since a key is a word), and every tool call until it is complete and allowed. What is passed on are the
library's own events, unchanged and in their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from rune.integrations.checkpoint import Checkpoint, beside, redaction, refuse_redaction
from rune.shield.results import ScanResult

E = TypeVar("E")
HOLD = 256
"""Characters of a text that wait for what follows them."""
STEP = 64
"""New characters that make another scan worth while."""
TAIL = 1_000
"""Characters that were passed on and are scanned again with what follows."""
LONGEST_WORD = 4_096
MOST_HELD = 8 << 20
"""Characters of all tool calls of a stream; a stream that says more is stopped."""


Channel = tuple[object, ...]


class Text(NamedTuple):
    """More of a text; texts of different channels do not belong together."""

    channel: Channel
    text: str


class CallPart(NamedTuple):
    """More of a tool call: its name comes once, its arguments in pieces."""

    channel: Channel
    name: str = ""
    arguments: str = ""
    call_id: str = ""


class CallWhole(NamedTuple):
    """A tool call in one piece; a channel that was open ends with it. One that was judged is not again."""

    channel: Channel
    name: str
    arguments: object
    call_id: str = ""


class End(NamedTuple):
    """Nothing more comes on the channels that begin so; the empty beginning ends all of them."""

    beginning: Channel = ()


class Whole(NamedTuple):
    """A text in one piece, said again or for the first time; one that has passed is not judged again."""

    text: str


Part = Text | Whole | CallPart | CallWhole | End


class _Line:
    """One text on its way: what has come, what was scanned, and what may go."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tail = ""
        self.fresh = ""
        self.total = 0
        self.clear = 0
        self.ended = False

    def add(self, text: str) -> None:
        self.said.append(text)
        self.fresh += text
        self.total += len(text)
        self.ended = False

    def is_due(self) -> bool:
        return len(self.fresh) >= STEP or (self.ended and self.clear < self.total)

    def window(self) -> str:
        return self.tail + self.fresh

    def scanned(self) -> None:
        """Moves on: what is far enough behind may go."""
        seen = self.window()
        free = len(seen) if self.ended else max(len(seen) - HOLD, 0)
        if not self.ended:
            word = _last_break(seen, free)
            free = word if free - word <= LONGEST_WORD else free
        self.clear = max(self.clear, self.total - len(seen) + free)
        self.tail, self.fresh = seen[-(self.total - self.clear + TAIL) :], ""


class _Call:
    def __init__(self) -> None:
        self.name = ""
        self.arguments: list[str] = []
        self.call_id = ""

    def whole(self, channel: Channel) -> CallWhole:
        return CallWhole(channel, self.name, "".join(self.arguments), self.call_id)


def _is_another(call: _Call, part: CallPart) -> bool:
    """Whether a part belongs to another call than the one that is open where it came."""
    ids, names = (call.call_id, part.call_id), (call.name, part.name)
    return any(all(pair) and pair[0] != pair[1] for pair in (ids, names))


def _mark(call: CallWhole) -> tuple[str, str, str]:
    """All of a call that a tool sees: an id alone may be said of two."""
    return call.call_id, call.name, str(call.arguments)


class Held(Generic[E]):
    """The events of one stream; `read` says what an event tells."""

    def __init__(
        self,
        check: Checkpoint,
        read: Callable[[E], Iterable[Part]],
        *,
        judges: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`judges` says of a tool whether its calls are judged here, and not when they are about to run."""
        self._check = check
        self._read = read
        self._judges = judges
        self._events: deque[tuple[E, list[tuple[_Line, int]], set[Channel]]] = deque()
        self._lines: dict[Channel, _Line] = {}
        self._open: dict[Channel, _Call] = {}
        self._ready: dict[Channel, CallWhole] = {}
        self._judged: set[tuple[str, str, str]] = set()
        self._size = 0
        self._worst: tuple[str, ScanResult] | None = None
        self._tolerated = False

    def take(self, event: E) -> bool:
        """Keeps an event; whether there is something to judge before anything can be passed on."""
        needs: list[tuple[_Line, int]] = []
        calls: set[Channel] = set()
        nothing: Iterable[Part] = ()
        for part in self._check.own("reading a stream", lambda: list(self._read(event)), nothing):
            match part:
                case Text():
                    line = self._lines.setdefault(part.channel, _Line())
                    line.add(part.text)
                    needs.append((line, line.total))
                case Whole():
                    line = self._lines["whole", object()] = _Line()
                    line.add(part.text)
                    line.ended = True
                    needs.append((line, line.total))
                case CallPart() | CallWhole():
                    self._take_call(part)
                    calls.add(part.channel)
                case End():
                    needs += self._end(part.beginning)
        self._events.append((event, needs, calls))
        return bool(self._ready) or any(line.is_due() for line in self._lines.values())

    def _take_call(self, part: CallPart | CallWhole) -> None:
        if isinstance(part, CallWhole):
            self._open.pop(part.channel, None)
            if _mark(part) not in self._judged:
                self._ready[part.channel] = part
            return
        call = self._open.setdefault(part.channel, _Call())
        if _is_another(call, part):
            # Some providers have one channel for all calls.
            self._ready["before", object()] = self._open.pop(part.channel).whole(part.channel)
            call = self._open[part.channel] = _Call()
        call.name = call.name or part.name
        call.call_id = call.call_id or part.call_id
        call.arguments.append(part.arguments)
        self._size += len(part.arguments)

    def _end(self, beginning: Channel) -> list[tuple[_Line, int]]:
        """Ends channels; what is told of them must be scanned to its last letter."""
        needs: list[tuple[_Line, int]] = []
        for channel, line in self._lines.items():
            if channel[: len(beginning)] == beginning:
                line.ended = True
                needs.append((line, line.total))
        for channel in [each for each in self._open if each[: len(beginning)] == beginning]:
            self._ready[channel] = self._open.pop(channel).whole(channel)
        return needs

    def work(self) -> None:
        """Judges what is due; may raise ShieldBlockedError."""
        if self._size > MOST_HELD:
            self._stop(ScanResult(explanation=f"tool calls of more than {MOST_HELD} characters"))
        for channel, line in list(self._lines.items()):
            if line.is_due():
                self._scan(line)
            if line.ended:
                del self._lines[channel]
        for channel, call in list(self._ready.items()):
            self._check.name_call(call.call_id, call.name)
            if self._judges(call.name):
                self._check.call(call.name, call.arguments)
            if call.call_id:
                self._judged.add(_mark(call))
            del self._ready[channel]

    def finish(self) -> None:
        """Judges the rest at the end of the stream; may raise ShieldBlockedError."""
        self._end(())
        self.work()

    def free(self) -> Iterator[E]:
        """The events that may be passed on."""
        while self._events:
            event, needs, calls = self._events[0]
            if any(line.clear < until for line, until in needs):
                return
            if any(channel in self._open or channel in self._ready for channel in calls):
                return
            self._events.popleft()
            yield event

    def report(self) -> None:
        """One event for the whole stream, whatever became of it."""
        if self._worst is not None:
            text, result = self._worst
            self._check.shield.report_scan("output", text, result, context=self._check.context)
            self._worst = None

    def _scan(self, line: _Line) -> None:
        text = line.window()
        whole = "".join(line.said) if line.ended else ""
        if not text or (whole and len(whole) == len(text) and not self._check.is_new("output", whole)):
            line.scanned()
            return
        found = self._check.shield.scan("output", text, self._check.context, report=False)
        if self._worst is None or (found.blocked, found.risk_score) > _rank(self._worst[1]):
            self._worst = (text, found)
        if not self._tolerated and (found.blocked or redaction(found) is not None):
            self._stop(found)
        line.scanned()
        if whole:
            self._check.let_pass("output", whole)

    def _stop(self, found: ScanResult) -> None:
        if redaction(found) is not None:
            refuse_redaction(self._check, found)
        else:
            self._check.shield.enforce(msgspec.structs.replace(found, blocked=True))
        self._tolerated = True  # on_block lets it go ahead, and once is often enough to say so


def passing(held: Held[E], source: Iterator[E]) -> Generator[E]:
    """The stream, as far as it may be passed on; the source is closed when it is stopped."""
    try:
        for event in source:
            if held.take(event):
                held.work()
            yield from held.free()
        held.finish()
        yield from held.free()
    finally:
        _close(source)
        held.report()


async def apassing(held: Held[E], source: AsyncIterator[E]) -> AsyncIterator[E]:
    """As `passing`, judging in a thread."""
    try:
        async for event in source:
            if held.take(event):
                await beside(held.work)
            for free in held.free():
                yield free
        await beside(held.finish)
        for free in held.free():
            yield free
    finally:
        close: Any = getattr(source, "aclose", None)
        if close is not None:
            await close()
        held.report()


def _close(source: object) -> None:
    close: Any = getattr(source, "close", None)
    if close is not None:
        close()


def _rank(found: ScanResult) -> tuple[bool, float]:
    return found.blocked, found.risk_score


def _last_break(text: str, until: int) -> int:
    """Where the word that is open at a place began; a place further back than any word may be, if none."""
    earliest = max(until - LONGEST_WORD - 1, 0)
    for place in range(until, earliest, -1):
        if text[place - 1].isspace():
            return place
    return earliest
