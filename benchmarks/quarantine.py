"""From the event that tells of an attack to a stopped instance, against a bare kill, in one run.

A real `runed` runs a guarded agent; what is sent is the event that a Shield sends. The floor is what the
machine itself takes: SIGKILL, and waiting until it is gone. Run: `python benchmarks/quarantine.py`.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROUNDS = 15
PATIENCE = 20.0
SERVICE = {
    "name": "bot",
    "scale": 1,
    "process": {"command": "/bin/sleep", "args": ["3600"]},
    "agent": {"quarantine": "QUARANTINE_WHEN_ON_CRITICAL"},
}


def attack(number: int) -> dict[str, Any]:
    """The event of a blocked prompt injection."""
    threat = {"type": "prompt_injection", "rule": "bench", "severity": "critical", "confidence": 0.95}
    scan = {"risk_score": 0.97, "blocked": True, "l1_result": "block", "threats_detected": [threat]}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "event_id": f"bench-{number}",
        "timestamp": at,
        "agent_id": "bot",
        "event_type": "scan",
        "scan_result": scan,
    }


def until(ask: Callable[[], Any]) -> Any:
    """The first answer that says yes."""
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        if answer := ask():
            return answer
        time.sleep(0.001)
    raise SystemExit("it took too long")


def pid_of(http: httpx.Client, other_than: int) -> int:
    """The pid of the agent's process, once it is a new one."""
    found = http.get("/v1/namespaces/default/services/bot").json()["service"]["instances"]
    return next((each["pid"] for each in found if each["pid"] not in (0, other_than)), 0)


def one(http: httpx.Client, number: int, before: int) -> tuple[float, int]:
    """Seconds from the request with the event to the end of the process; and its pid."""
    pid = until(lambda: pid_of(http, before))
    begin = time.perf_counter()
    http.post("/v1/events", json={"events": [attack(number)]}).raise_for_status()
    until(lambda: not Path(f"/proc/{pid}").exists())
    took = time.perf_counter() - begin
    http.post("/v1/agents/bot/release", json={"reason": "bench"}).raise_for_status()
    return took, pid


def floor() -> float:
    """Seconds that a bare kill takes."""
    process = subprocess.Popen(["/bin/sleep", "3600"])
    time.sleep(0.05)
    begin = time.perf_counter()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.perf_counter() - begin


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as folder:
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "rune.daemon", "--dev", "--data-dir", folder, "--ready-fd", str(writer),
             "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"],
            pass_fds=[writer], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(writer)
        try:
            with os.fdopen(reader, encoding="utf-8") as ready:
                told = json.loads(ready.readline())
            measure(told)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def measure(told: dict[str, Any]) -> None:
    """All rounds against one server."""
    headers = {"Authorization": f"Bearer {told['token']}"}
    with httpx.Client(base_url=f"http://{told['http']}", headers=headers, timeout=PATIENCE) as http:
        http.post("/v1/organizations/update", json={"name": "default", "limits": {"writesPerMinute": 10_000}})
        http.post("/v1/namespaces/default/services", json=SERVICE).raise_for_status()
        took: list[float] = []
        pid = 0
        for number in range(ROUNDS):
            seconds, pid = one(http, number, pid)
            took.append(seconds)
    bare = [floor() for _ in range(ROUNDS)]
    for name, times in (("event to stopped instance", took), ("bare SIGKILL", bare)):
        ordered = sorted(1000 * each for each in times)
        print(f"{name}: median {statistics.median(ordered):.1f} ms, worst {ordered[-1]:.1f} ms of {ROUNDS}")


if __name__ == "__main__":
    main()
