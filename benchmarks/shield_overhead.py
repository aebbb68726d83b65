"""What a Shield adds: to the bare evaluator, to the bare scanner, and to the start of a program, in one run.

python benchmarks/shield_overhead.py
"""

from __future__ import annotations

import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from rune import Shield
from rune.policy.compile import compile as compile_policy
from rune.policy.document import parse
from rune.policy.evaluate import Action, ActivePolicy, Evaluator, Ledger
from rune.policy.scanners.patterns import PatternScanner

ROUNDS = 3_000
CALLS = 5_000
KINDS = (
    "{{name: r{n}, type: tool_denylist, tools: [delete_{n}, 'drop_{n}_*']}}",
    "{{name: r{n}, scanner: prompt_injection, min_confidence: 0.6}}",
    "{{name: r{n}, type: argument_match, tool: write_{n}, argument: path, not_matches: '^/workspace/'}}",
    "{{name: r{n}, when: \"tool.name == 'pay' && args.amount > {n}00\", action: require_approval}}",
    "{{name: r{n}, type: rate_limit, max_calls: 1000000, window_seconds: 60, tools: ['send_{n}']}}",
)
ARGUMENTS = {"path": "/workspace/notes.txt", "limit": 100}
TEXT = ("The quarterly report shows that our customers in the north asked for better support. " * 12)[:1000]


def microseconds(work: Callable[[], object]) -> float:
    """The median of one call."""
    for _ in range(200):
        work()
    taken: list[int] = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1000


def row(label: str, ours: float, *, peer: float, what: str) -> None:
    print(f"{label:<46} {ours:9.2f} µs   {what} {peer:8.2f} µs   +{ours - peer:.2f} µs")


def decisions(count: int, folder: Path) -> None:
    rules = "".join(f"  - {KINDS[n % len(KINDS)].format(n=n)}\n" for n in range(count))
    text = f'version: "1.0"\nname: bench\nrules:\n{rules}'
    (folder / "bench.yaml").write_text(text, encoding="utf-8")
    judge = Evaluator([ActivePolicy(policy=compile_policy(parse(text)), policy_id="bench")])
    ledger = Ledger()
    action = Action(tool="read_file", arguments=ARGUMENTS, agent_id="default")
    bare = microseconds(lambda: judge.decide(action, ledger=ledger, now=0.0))
    # Nobody listens there: events are made and queued as in an agent, and never sent.
    options: dict[str, Any] = {"event_flush_interval_seconds": 3600.0, "event_batch_size": 1000}
    options |= {"policy_sync_interval_seconds": 0, "event_queue_max": 500, "local_policies_path": folder}
    with Shield(api_key="k", endpoint="http://127.0.0.1:9", **options) as shield:
        plain = microseconds(lambda: shield.validate_action("read_file", ARGUMENTS, scan_arguments=False))
        row(f"validate_action, {count} rules, with its event", plain, peer=bare, what="evaluator")
        full = microseconds(lambda: shield.validate_action("read_file", ARGUMENTS))
        row(f"validate_action, {count} rules, arguments scanned", full, peer=bare, what="evaluator")
        shield.close(0.1)


def scans() -> None:
    scanner = PatternScanner()
    bare = microseconds(lambda: scanner.scan(TEXT, direction="input"))
    with Shield(events_enabled=False) as shield:
        row("scan_input, 1 KB", microseconds(lambda: shield.scan_input(TEXT)), peer=bare, what="scanner  ")


class Plane(BaseHTTPRequestHandler):
    """A control plane that is of no use: it does what the address asks for."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        way = self.path.split("/")[1]
        if way == "slow":
            time.sleep(5.0)
        body = b"<html>not what you think</html>" if way == "garbage" else b'{"error":"later"}'
        self.send_response({"busy": 429, "broken": 500}.get(way, 200))
        self.send_header("retry-after", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def misery() -> None:
    """The 99th percentile of a call while the control plane is of no use, beside one without any events."""
    logging.disable()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Plane)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}"
    with Shield(events_enabled=False) as bare:
        peer = tail(lambda: bare.validate_action("read_file", ARGUMENTS))
    for way in ("down", "slow", "garbage", "busy", "broken"):
        endpoint = "http://127.0.0.1:9" if way == "down" else f"{home}/{way}"
        options: dict[str, Any] = {"policy_sync_interval_seconds": 0, "event_queue_max": 1_000}
        options |= {"event_flush_interval_seconds": 0.05}
        with Shield(api_key="k", endpoint=endpoint, **options) as shield:
            taken = tail(lambda shield=shield: shield.validate_action("read_file", ARGUMENTS))
            stats = shield.stats
            lost, depth = stats["events_dropped_total"], stats["queue_depth"]
            row(f"p99, control plane {way}", taken, peer=peer, what="no events")
            print(f"{'':<46} {lost} of {CALLS} events counted as lost, {depth} wait")
            shield.close(0)
    server.shutdown()


def tail(work: Callable[[], object]) -> float:
    """The 99th percentile of a call, in microseconds."""
    taken: list[int] = []
    for _ in range(CALLS):
        began = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - began)
    return statistics.quantiles(taken, n=100)[98] / 1000


def imports() -> None:
    """The best of seven fresh interpreters each, in turns."""
    lines = ("from rune import Shield", "import httpx, yaml", "pass")
    best = dict.fromkeys(lines, float("inf"))
    for _ in range(7):
        for line in lines:
            probe = f"import time; t = time.perf_counter(); {line}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True)
            best[line] = min(best[line], float(done.stdout) * 1000)
    ours, theirs = best[lines[0]], best[lines[1]]
    print(f"{lines[0]:<46} {ours:9.0f} ms   {lines[1]} {theirs:.0f} ms   {ours / theirs:6.2f} x")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 100):
            decisions(count, Path(folder))
    scans()
    misery()
    imports()


if __name__ == "__main__":
    main()
