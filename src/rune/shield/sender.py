"""Delivers events: a daemon thread that starts with the first event, sends batches, and waits out failures.

What could not be sent is held in memory, or set aside on disk if there is a spool. Nothing here ever
makes a caller of `put` wait for the network.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

import msgspec

from rune.core.clock import Clock
from rune.shield.debug import Debug
from rune.shield.faults import logger, our_fault
from rune.shield.line import Line, Reply, Unreachable
from rune.shield.options import ShieldConfig
from rune.shield.outbox import Outbox
from rune.shield.spool import Spool
from rune.shield.stats import Stats

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
_AGAIN = {408, 425, 429}
_SMALLER = {400, 413}
_NEVER = float("inf")


@dataclass(slots=True)
class Batch:
    """Events on their way; `path` is where they lie on disk, if they do."""

    events: list[bytes]
    path: Path | None = None


class _Accepted(msgspec.Struct):
    accepted: int


class Sender:
    """Takes events from any thread and delivers them from one."""

    def __init__(self, config: ShieldConfig, clock: Clock, stats: Stats, *, debug: Debug) -> None:
        self._config = config
        self._clock = clock
        self._stats = stats
        self._debug = debug
        self._starting = Lock()
        self._spool = None
        if config.event_spool_path:
            self._spool = Spool(config.event_spool_path, config.event_spool_max_bytes, self._milliseconds)
        self._reset()

    def _reset(self) -> None:
        config = self._config
        self.outbox = Outbox(config.event_queue_max, config.event_batch_size, self._clock.monotonic)
        self._line = Line(config)
        self._thread: Thread | None = None
        self._runs = False
        self._held: deque[Batch] = deque()
        self._busy = False
        self._hurry = False
        self._urgent = False
        """Something is queued that somebody should know of now."""
        self._spooled = self._spool is not None
        """Whether there may be batches on disk."""
        self._failures = 0
        self._retry_at = 0.0
        self._closing_at = _NEVER
        """Once closing: until when to try."""

    @property
    def depth(self) -> int:
        """Events that wait."""
        return len(self.outbox) + sum(len(batch.events) for batch in self._held)

    def put(self, event: bytes, *, is_urgent: bool = False) -> None:
        """Queues an event; never waits, and counts what it had to drop. An urgent one goes out at once."""
        if self._closing_at != _NEVER:
            self._stats.lost("closed", 1)
            return
        if self.outbox.put(event):
            self._stats.lost("queue_full", 1)
        if is_urgent:
            with self.outbox.changed:
                self._urgent = True
                self.outbox.changed.notify_all()
        self._ensure()

    def flush(self, timeout: float) -> bool:
        """Sends everything now, ending a back-off; whether it was all delivered in time."""
        if not self._outstanding():
            return True
        self._ensure()
        with self.outbox.changed:
            self._hurry, self._retry_at = True, 0.0
            self.outbox.changed.notify_all()
            self.outbox.changed.wait_for(lambda: not self._outstanding(), timeout)
            self._hurry = False
        return not self._outstanding()

    def close(self, timeout: float) -> None:
        """Lets the thread deliver what it can within the time and end; a time of 0 waits for nothing."""
        with self.outbox.changed:
            self._closing_at = min(self._closing_at, self._clock.monotonic() + timeout)
            self._failures, self._retry_at = 0, 0.0  # one last try
            self.outbox.changed.notify_all()
        thread = self._thread
        if thread is None:
            self._give_up()
        if thread is None or not timeout:
            return
        thread.join(timeout)
        if thread.is_alive():
            self._line.abort()
            thread.join(0.5)

    def after_fork(self) -> None:
        """The parent sends what is queued there; the child begins with nothing."""
        self._line.close()
        self._starting = Lock()
        self._reset()

    def _outstanding(self) -> bool:
        return bool(len(self.outbox) or self._held or self._busy or self._spooled)

    def _ensure(self) -> None:
        if self._runs:
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="rune-shield-sender", daemon=True)
                self._runs = True
                self._thread.start()

    def _run(self) -> None:
        try:
            while self._wait():
                with our_fault("sending events") as fault:
                    self._round()
                if fault.happened:
                    self._stats.add("faults_total")
                    self._put_off(None)
            with our_fault("closing the sender"):
                self._give_up()
        finally:
            self._runs = False
            self._line.close()

    def _wait(self) -> bool:
        """Until there is something to do; False when it is time to end."""
        with self.outbox.changed:
            while True:
                now = self._clock.monotonic()
                if self._closing_at != _NEVER:
                    return bool(self._outstanding() and now < self._closing_at and not self._failures)
                pause = self._pause(now)
                if pause <= 0:
                    return True
                self.outbox.changed.wait(None if pause == _NEVER else pause)

    def _pause(self, now: float) -> float:
        """Seconds until there is something to do; hold `changed`."""
        full = len(self.outbox) >= self._config.event_batch_size
        if now < self._retry_at:
            return 0.0 if full and self._spool is not None else self._retry_at - now
        if full or self._held or self._spooled or ((self._hurry or self._urgent) and len(self.outbox)):
            return 0.0
        if len(self.outbox):
            return self.outbox.since + self._config.event_flush_interval_seconds - now
        return _NEVER

    def _round(self) -> None:
        """Sends the next batch; while a failure is waited out, sets it aside on disk instead."""
        with self.outbox.changed:
            self._busy = True
        batch, is_done = None, False
        try:
            batch = self._next()
            if batch is not None and self._clock.monotonic() < self._retry_at:
                self._set_aside(batch)
            elif batch is not None:
                self._send(batch)
            is_done = True
        finally:
            if batch is not None and not is_done:
                self._stats.lost("fault", len(batch.events))
            with self.outbox.changed:
                self._busy = False
                self.outbox.changed.notify_all()

    def _next(self) -> Batch | None:
        with self.outbox.changed:
            if self._held:
                return self._held.popleft()
            due = self._hurry or self._urgent or self._closing_at != _NEVER or not self._spooled
            if due or len(self.outbox) >= self._config.event_batch_size:
                events = self.outbox.take()
                self._urgent = self._urgent and len(self.outbox) > 0
                if events:
                    return Batch(events)
        return self._from_spool()

    def _from_spool(self) -> Batch | None:
        self._spooled = False
        if self._spool is None:
            return None
        try:
            found = self._spool.oldest()
        except OSError as error:
            logger.warning("the event spool cannot be read: %s", error.strerror)
            return None
        self._spooled = found is not None
        return Batch(found[1], found[0]) if found is not None else None

    def _send(self, batch: Batch) -> None:
        body = b'{"events":[' + b",".join(batch.events) + b"]}"
        try:
            reply = self._line.ask("POST", "/v1/events", body=body)
        except Unreachable as error:
            self._failed(batch, str(error), None)
            return
        count, status = len(batch.events), reply.status
        if _is_accepted(reply):
            self._stats.add("events_sent_total", count)
            self._failures = 0
            self._forget(batch)
            self._debug.say("batch", events=count, status=status)
        elif status in _AGAIN or not 300 <= status < 500:  # noqa: PLR2004 - the classes of HTTP
            self._failed(batch, f"http_{status}", reply.retry_after)
        elif status in _SMALLER and count > 1:
            # One bad event refuses all: halves find it, and the others arrive.
            self._forget(batch)
            half = count // 2
            self._held.extendleft([Batch(batch.events[half:]), Batch(batch.events[:half])])
        else:
            self._refused(batch, status)

    def _refused(self, batch: Batch, status: int) -> None:
        self._forget(batch)
        self._stats.lost(f"http_{status}", len(batch.events), name="events_failed_total")
        logger.warning("the control plane refused %d events with HTTP %d", len(batch.events), status)

    def _failed(self, batch: Batch, reason: str, retry_after: float | None) -> None:
        self._debug.say("batch", events=len(batch.events), failed=reason)
        if not self._failures:
            logger.warning("events cannot be delivered for now (%s); trying again", reason)
        self._put_off(retry_after)
        self._set_aside(batch)

    def _put_off(self, retry_after: float | None) -> None:
        """Waits longer after each failure, with jitter, so that many agents do not come back at once."""
        self._failures += 1
        pause = min(FIRST_PAUSE * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE)
        pause *= 0.5 + self._clock.random() / 2
        self._retry_at = self._clock.monotonic() + (retry_after if retry_after is not None else pause)

    def _set_aside(self, batch: Batch) -> None:
        """On disk if there is a spool and room on it, else in memory."""
        if batch.path is not None:
            return
        if self._spool is None:
            self._held.appendleft(batch)
            return
        try:
            dropped = self._spool.save(batch.events)
        except OSError as error:
            logger.warning("the event spool cannot be written: %s", error.strerror)
            self._stats.lost("spool_failed", len(batch.events))
            return
        self._spooled = True
        if dropped:
            self._stats.lost("spool_full", dropped)

    def _forget(self, batch: Batch) -> None:
        if batch.path is not None and self._spool is not None:
            self._spool.remove(batch.path)

    def _give_up(self) -> None:
        """At the end: what was not delivered goes to disk, or is counted as lost."""
        with self.outbox.changed:
            left = [*self._held]
            self._held.clear()
            while events := self.outbox.take():
                left.append(Batch(events))
        for batch in left:
            if self._spool is not None:
                self._set_aside(batch)
            else:
                self._stats.lost("undelivered", len(batch.events))

    def _milliseconds(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _is_accepted(reply: Reply) -> bool:
    """A success that only the control plane could have answered; a captive portal says 200 too."""
    if not 200 <= reply.status < 300:  # noqa: PLR2004 - the classes of HTTP
        return False
    try:
        msgspec.json.decode(reply.body, type=_Accepted)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
