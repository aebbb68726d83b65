"""Delivery: what arrives, what is retried, what is dropped, and that every loss is counted."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane import Answer, Asked, Standin
from rune.core.clock import SystemClock
from rune.shield import sender as sending
from rune.shield.debug import Debug
from rune.shield.faults import OurFault
from rune.shield.options import resolve
from rune.shield.sender import Sender
from rune.shield.stats import Stats


def event(number: int) -> bytes:
    return json.dumps({"event_id": f"e{number}"}).encode()


@contextmanager
def sender(plane: Standin | str, **options: Any) -> Generator[tuple[Sender, Stats]]:
    url = plane if isinstance(plane, str) else plane.url
    defaults: dict[str, Any] = {"event_flush_interval_seconds": 60.0, "connection_timeout_seconds": 2.0}
    config = resolve(None, {"api_key": "k", "endpoint": url, **defaults, **options}, {})
    stats = Stats()
    made = Sender(config, SystemClock(), stats, debug=Debug(on=False))
    try:
        yield made, stats
    finally:
        made.close(2.0)


def ids(plane: Standin) -> list[str]:
    return [each["event_id"] for each in plane.events]


def refuse(times: int, status: int, **headers: str) -> Callable[[Asked], Answer]:
    """Answers the first so many requests with the status, all later ones well."""
    left = [times]

    def answer(asked: Asked) -> Answer:
        left[0] -= 1
        return Answer(status, b"{}", headers) if left[0] >= 0 else Answer()

    return answer


def closed_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_a_full_batch_goes_at_once_over_one_kept_connection(plane: Standin) -> None:
    with sender(plane, event_batch_size=2) as (out, stats):
        for number in range(6):
            out.put(event(number))
        plane.wait_for(lambda: len(plane.asked) == 3)
        assert ids(plane) == [f"e{number}" for number in range(6)]
        assert out.flush(5)
        assert stats.report()["events_sent_total"] == 6
    assert plane.connections == 1
    assert plane.asked[0].headers["X-Rune-Key"] == "k"


def test_a_part_of_a_batch_goes_after_the_interval(plane: Standin) -> None:
    with sender(plane, event_flush_interval_seconds=0.05) as (out, _):
        out.put(event(1))
        plane.wait_for(lambda: ids(plane) == ["e1"])


def test_no_thread_and_no_connection_before_the_first_event(plane: Standin) -> None:
    before = threading.active_count()
    with sender(plane) as (out, _):
        assert out.flush(1)
        assert threading.active_count() == before
    assert plane.connections == 0


@pytest.mark.parametrize("status", [408, 429, 500, 503, 201, 200])
def test_what_may_pass_is_retried_until_it_does(
    plane: Standin, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.02)
    plane.on_events = refuse(2, status)
    with sender(plane) as (out, stats):
        out.put(event(1))
        assert out.flush(10)
        assert stats.report()["events_sent_total"] == 1
        assert stats.report()["events_dropped_total"] == 0
    assert ids(plane) == ["e1"] * 3


def test_retry_after_is_kept(plane: Standin) -> None:
    plane.on_events = refuse(1, 429, **{"Retry-After": "200"})
    with sender(plane) as (out, _):
        out.put(event(1))
        assert not out.flush(0.3)
        assert len(plane.asked) == 1
        assert out.depth == 1


@pytest.mark.parametrize("status", [401, 403, 404, 301])
def test_what_is_refused_is_dropped_and_counted_by_reason(plane: Standin, status: int) -> None:
    plane.on_events = refuse(1, status)
    with sender(plane) as (out, stats):
        out.put(event(1))
        out.flush(5)
        assert stats.report()["events_failed_total"] == 1
        assert stats.report()["losses"] == {f"http_{status}": 1}
        out.put(event(2))
        assert out.flush(5)


def test_one_bad_event_costs_only_itself(plane: Standin) -> None:
    plane.on_events = lambda asked: Answer(400, b"{}") if b'"e5"' in asked.body else Answer()
    with sender(plane) as (out, stats):
        for number in range(9):
            out.put(event(number))
        assert out.flush(5)
        assert stats.report()["events_sent_total"] == 8
        assert stats.report()["losses"] == {"http_400": 1}


def test_a_full_queue_drops_the_oldest_and_counts(plane: Standin) -> None:
    with sender(plane, event_queue_max=3) as (out, stats):
        for number in range(10):
            out.put(event(number))
        assert out.depth == 3
        assert stats.report()["losses"] == {"queue_full": 7}
        assert out.flush(5)
    assert ids(plane) == ["e7", "e8", "e9"]


def test_what_cannot_be_delivered_by_the_end_is_counted() -> None:
    with sender(closed_port()) as (out, stats):
        out.put(event(1))
        out.put(event(2))
        assert not out.flush(0.2)
    assert stats.report()["losses"] == {"undelivered": 2}
    out.put(event(3))
    assert stats.report()["losses"] == {"undelivered": 2, "closed": 1}


def test_closing_delivers_what_is_queued(plane: Standin) -> None:
    with sender(plane) as (out, _):
        out.put(event(1))
    assert ids(plane) == ["e1"]


def test_a_spool_survives_a_restart_and_is_for_its_owner_only(plane: Standin, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    with sender(closed_port(), event_spool_path=str(folder)) as (out, stats):
        out.put(event(1))
        out.put(event(2))
        assert not out.flush(0.2)
    assert stats.report()["losses"] == {}
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with sender(plane, event_spool_path=str(folder)) as (out, stats):
        assert out.flush(5)
        assert sorted(ids(plane)) == ["e1", "e2"]
    assert not list(folder.iterdir())


def test_a_spool_is_bounded_and_counts_what_it_drops(tmp_path: Path) -> None:
    size = len(event(1))
    options: dict[str, Any] = {"event_spool_path": str(tmp_path), "event_spool_max_bytes": size * 2}
    with sender(closed_port(), event_batch_size=1, **options) as (out, stats):
        for number in range(5):
            out.put(event(number))
        out.flush(0.3)
    assert stats.report()["losses"] == {"spool_full": 3}
    assert sorted(file.read_bytes() for file in tmp_path.iterdir()) == [event(3), event(4)]


def test_a_spool_that_cannot_be_written_loses_and_counts(plane: Standin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with sender(closed_port(), event_spool_path=str(tmp_path / "file" / "spool")) as (out, stats):
        out.put(event(1))
        out.flush(0.5)
    assert stats.report()["losses"] == {"spool_failed": 1}


def test_a_connection_that_went_stale_is_made_anew(plane: Standin) -> None:
    with sender(plane) as (out, _):
        out.put(event(1))
        assert out.flush(5)
        plane.hang_up()
        out.put(event(2))
        assert out.flush(5)
    assert ids(plane) == ["e1", "e2"]


@pytest.mark.system
def test_a_forked_child_sends_for_itself_and_nothing_twice(plane: Standin) -> None:
    from rune.shield import forks  # noqa: PLC0415 - only here

    with sender(plane) as (out, _):
        forks.follow(out)
        out.put(event(1))
        lock = out.outbox.changed
        lock.acquire()  # as another thread would hold it at the worst moment
        child = os.fork()
        if child == 0:
            out.put(event(2))
            os._exit(0 if out.flush(5) else 1)
        lock.release()
        assert os.waitpid(child, 0)[1] == 0
        assert ids(plane) == ["e2"]
        assert out.flush(5)
    assert ids(plane) == ["e2", "e1"]


def test_a_spool_that_cannot_be_read_stops_nothing(plane: Standin, tmp_path: Path) -> None:
    (tmp_path / "1-1-1-1.jsonl").mkdir()
    with sender(plane, event_spool_path=str(tmp_path)) as (out, _):
        out.put(event(1))
        assert out.flush(5)
    assert ids(plane) == ["e1"]


def test_closing_before_anything_was_sent_is_fine(plane: Standin) -> None:
    with sender(plane) as (out, stats):
        out.close(1)
        out.close(1)
    assert stats.report()["losses"] == {}


def test_a_fault_in_the_thread_is_counted_and_the_next_try_goes_on(
    plane: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OurFault, "RAISES", False)
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.02)
    with sender(plane) as (out, stats):
        real, faults = out.outbox.take, iter([ZeroDivisionError])

        def take() -> list[bytes]:
            for fault in faults:
                raise fault
            return real()

        monkeypatch.setattr(out.outbox, "take", take)
        out.put(event(1))
        assert out.flush(5)
        assert stats.report()["faults_total"] == 1
    assert ids(plane) == ["e1"]


def test_what_a_fault_of_ours_takes_with_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError("a module that was half loaded at a fork")

    monkeypatch.setattr(OurFault, "RAISES", False)
    monkeypatch.setattr("rune.shield.line.Line.ask", broken)
    with sender("http://127.0.0.1:9") as (made, stats):
        made.put(event(1))
        made.flush(2.0)
    assert stats.report()["losses"] == {"fault": 1}
