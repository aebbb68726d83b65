"""A Shield never breaks its house: imports stay light, and a bad control plane costs the host nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import rune
from controlplane import Answer, Standin
from promises import promise
from rune import Shield

pytestmark = promise("shield.guest")

FORBIDDEN = (
    "asyncio", "grpc", "google.protobuf", "starlette", "uvicorn", "click", "rich", "docker", "aiodocker",
    "mcp", "nicegui", "pydantic", "apsw", "sqlite3", "asyncpg", "httpx", "yaml", "ssl", "http.client",
    "hyperscan", "re2", "numpy", "structlog", "rune.server", "rune.client", "rune.cli", "rune.orchestrator",
    "rune.api",
)  # fmt: skip


def python(program: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_what_the_package_shows_is_decided() -> None:
    assert rune.__all__ == ["PolicyDecision", "ScanResult", "Shield", "ShieldBlockedError", "ShieldConfig"]
    assert set(rune.__all__) <= set(dir(rune))
    assert [getattr(rune, name).__name__ for name in rune.__all__] == rune.__all__
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = rune.nothing_here


@pytest.mark.system
def test_the_import_loads_no_server_and_no_engine() -> None:
    loaded = python("import sys\nfrom rune import Shield\nprint(*sys.modules)").split()
    assert not set(FORBIDDEN) & set(loaded)
    alone = python("import sys, rune\nprint(*[m for m in sys.modules if m.startswith('rune')])").split()
    assert set(alone) == {"rune", "rune.version"}


@pytest.mark.system
def test_it_works_in_trio() -> None:
    pytest.importorskip("trio", reason="trio is not installed")
    program = (
        "import trio\nfrom rune import Shield\n"
        "async def main():\n    async with Shield(events_enabled=False) as shield:\n"
        "        print((await shield.ascan_output('ghp_016C7a0tXJrJ0w2N1zDn5Zc0mGJ3Fh2Jg8aQ')).blocked)\n"
        "trio.run(main)\n"
    )
    assert python(program) == "True\n"


def silent(_sock: socket.socket, stop: threading.Event) -> None:
    """Takes the request and says nothing."""
    stop.wait(20)


def garbage(sock: socket.socket, stop: threading.Event) -> None:
    sock.sendall(os.urandom(2_000))


def hangup(sock: socket.socket, stop: threading.Event) -> None:
    """Says half an answer."""
    sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nhalf")


def endless(sock: socket.socket, stop: threading.Event) -> None:
    """Never stops talking."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not stop.wait(0.001):  # it shares its interpreter with what is measured
        sock.sendall(b"1000\r\n" + b"x" * 4_096 + b"\r\n")


def drip(sock: socket.socket, stop: threading.Event) -> None:
    for byte in b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"y" * 10_000:
        sock.sendall(bytes([byte]))
        if stop.wait(0.02):
            return


@contextmanager
def rude(manner: Callable[[socket.socket, threading.Event], None]) -> Generator[str]:
    """A server without manners."""
    stop, threads, socks = threading.Event(), list[threading.Thread](), list[socket.socket]()

    def talk(sock: socket.socket) -> None:
        with sock:
            try:
                sock.recv(65_536)
                manner(sock, stop)
            except OSError:
                return

    def listen() -> None:
        while not stop.is_set():
            try:
                sock, _ = door.accept()
            except OSError:
                return
            socks.append(sock)
            threads.append(threading.Thread(target=talk, args=(sock,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threads.append(threading.Thread(target=listen))
        threads[-1].start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            stop.set()
            for sock in [door, *socks]:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


ROUNDS, CALLS = 3, 300
GIVES_UP = 0.3
"""Seconds after which the sender gives up, which a call that waits for it would take."""


def longest_call(url: str) -> tuple[float, dict[str, Any]]:
    """Seconds that the longest call takes.

    The least of three rounds: the machine may be busy with others.
    """
    options: dict[str, Any] = {"event_batch_size": 10, "event_queue_max": 100}
    with Shield(api_key="k", endpoint=url, connection_timeout_seconds=GIVES_UP, **options) as shield:
        shield.validate_action("t", {"a": "words"})
        longest = min(max(taken(shield) for _ in range(CALLS)) for _ in range(ROUNDS))
        depth = shield.stats["queue_depth"]
        began = time.monotonic()
    assert time.monotonic() - began < 5, "closing waited for the control plane"
    assert isinstance(depth, int)
    assert depth <= 110
    return longest, shield.stats


def taken(shield: Shield) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    shield.validate_action("t", {"a": "words"})
    return time.perf_counter() - began


@pytest.mark.system
@pytest.mark.parametrize("manner", [silent, garbage, hangup, endless, drip])
def test_no_call_waits_for_a_control_plane_without_manners(manner: Any) -> None:
    """What it adds to a call, in microseconds, `benchmarks/shield_overhead.py` says."""
    with rude(manner) as url:
        longest, stats = longest_call(url)
    assert longest < GIVES_UP
    lost = stats["events_dropped_total"]
    assert (stats["events_sent_total"], lost) == (0, ROUNDS * CALLS + 1), "every loss is counted"
    assert sum(stats["losses"].values()) == lost


@pytest.mark.system
def test_no_call_waits_for_a_control_plane_that_is_away() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    longest, stats = longest_call(url)
    assert longest < GIVES_UP
    assert stats["events_dropped_total"] == ROUNDS * CALLS + 1


@pytest.mark.system
def test_no_call_waits_for_a_control_plane_that_is_busy(plane: Standin) -> None:
    plane.on_events = plane.on_bundle = lambda _: Answer(429, b"{}", {"Retry-After": "1"})
    longest, stats = longest_call(plane.url)
    assert longest < GIVES_UP
    assert stats["events_dropped_total"] == ROUNDS * CALLS + 1


PROGRAM = """
from rune import Shield
shield = Shield()
shield.scan_input("hello")
"""


@pytest.mark.system
def test_the_end_of_a_process_delivers_what_is_queued(plane: Standin) -> None:
    assert not python(
        PROGRAM, RUNE_API_KEY="k", RUNE_ENDPOINT=plane.url, RUNE_POLICY_SYNC_INTERVAL_SECONDS="0"
    )
    assert len(plane.events) == 1


@pytest.mark.system
def test_the_end_of_a_process_does_not_wait_for_a_dead_control_plane() -> None:
    with rude(silent) as url:
        began = time.monotonic()
        said = python(PROGRAM, RUNE_API_KEY="k", RUNE_ENDPOINT=url)
        assert time.monotonic() - began < 12
    assert "Traceback" not in said


@pytest.mark.system
def test_forked_workers_report_for_themselves(plane: Standin) -> None:
    program = (
        "import os\nfrom rune import Shield\nshield = Shield()\nshield.scan_input('parent')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    shield.scan_input('child')\n    os._exit(0 if shield.flush(5) else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    said = python(program, RUNE_API_KEY="k", RUNE_ENDPOINT=plane.url)
    assert "Traceback" not in said
    assert len({event["event_id"] for event in plane.events}) == len(plane.events) == 2


def test_a_forgotten_shield_ends_its_threads(plane: Standin) -> None:
    before = set(threading.enumerate())
    shield = Shield(api_key="k", endpoint=plane.url)
    shield.scan_input("x")
    mine = [
        thread for thread in threading.enumerate() if "rune-shield" in thread.name and thread not in before
    ]
    assert len(mine) == 2
    del shield
    for thread in mine:
        thread.join(5)
        assert not thread.is_alive()


def test_many_threads_may_share_one_shield(plane: Standin) -> None:
    with Shield(api_key="k", endpoint=plane.url) as shield:

        def work() -> None:
            for number in range(25):
                shield.scan_input(f"message {number}")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shield.flush(10)
        assert shield.stats["scans_total"] == shield.stats["events_sent_total"] == 200
    assert len({event["event_id"] for event in plane.events}) == 200


def test_a_process_that_was_frozen_delivers_on_demand(plane: Standin) -> None:
    with Shield(api_key="k", endpoint=plane.url) as shield:
        shield.scan_input("before")
        assert shield.flush(5)
        plane.on_events = lambda _: Answer(202, b'{"accepted": 1}', {"Connection": "close"})
        for _ in range(3):
            shield.scan_input("after")
            assert shield.flush(5)
    assert len(plane.events) == 4


async def test_it_works_inside_a_loop_that_runs_already(plane: Standin) -> None:
    # As in a notebook: the sync calls are made while a loop runs, and so are the async ones.
    with Shield(api_key="k", endpoint=plane.url) as shield:
        assert not shield.scan_input("hello").blocked
        assert not (await shield.ascan_input("hello again")).blocked
        assert shield.validate_action("t", {"a": "words"}).allowed
        assert await shield.aflush(5)
    assert len(plane.events) == 3
