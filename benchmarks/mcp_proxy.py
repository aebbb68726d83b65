"""What the guard adds to a call of a tool: the same server asked directly and through `rune-mcp --upstream`.

Both run at the same time and are asked by turns, so that whatever else the machine does slows both.
Run: `python benchmarks/mcp_proxy.py [calls]`. Limits: median at most 2 ms more, p99 at most 10 ms more.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

MOST_MEDIAN_MS, MOST_P99_MS = 2.0, 10.0
WARM = 50
SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    text = "The quick brown fox jumps over the lazy dog. " * 22
    result = {"content": [{"type": "text", "text": text}]}
    if asked["method"] == "tools/list":
        result = {"tools": [{"name": "read", "description": "Reads.", "inputSchema": {"type": "object"}}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


class Peer:
    """A server, with or without the guard, on two pipes."""

    def __init__(self, command: list[str], home: str) -> None:
        environ = {**os.environ, "HOME": home}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environ
        )
        self._number = 0
        self.ask("tools/list", {})
        self.seconds: list[float] = []

    def ask(self, method: str, params: Any) -> None:
        """One request and its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["id"] == self._number
        assert not answer["result"].get("isError"), answer

    def call(self) -> None:
        """One call of its tool, measured."""
        arguments = {"path": f"/srv/app/{self._number}.txt", "note": "please read the second chapter " * 5}
        began = time.perf_counter()
        self.ask("tools/call", {"name": "read", "arguments": arguments})
        self.seconds.append(time.perf_counter() - began)

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


def main() -> int:
    """Measure, print, and say with the exit code whether the limits hold."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    server = [sys.executable, "-c", SERVER]
    guard = [sys.executable, "-m", "rune.mcp.main", "--server-name", "bench", "--upstream"]
    with tempfile.TemporaryDirectory() as home:
        direct, guarded = Peer(server, home), Peer([*guard, *server], home)
        for _ in range(calls + WARM):
            direct.call()
            guarded.call()
        direct.close()
        guarded.close()
    plain, through = (sorted(peer.seconds[WARM:]) for peer in (direct, guarded))
    figures: dict[str, Any] = {
        "direct_ms": _figures(plain),
        "guarded_ms": _figures(through),
        "added_ms": {
            "median": round((statistics.median(through) - statistics.median(plain)) * 1e3, 3),
            "p99": round((_p99(through) - _p99(plain)) * 1e3, 3),
        },
        "calls": calls,
    }
    print(json.dumps(figures, indent=2))
    added = figures["added_ms"]
    return int(added["median"] > MOST_MEDIAN_MS or added["p99"] > MOST_P99_MS)


def _figures(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds) * 1e3, 3),
        "p99": round(_p99(seconds) * 1e3, 3),
        "max": round(seconds[-1] * 1e3, 3),
    }


def _p99(seconds: list[float]) -> float:
    return seconds[int(len(seconds) * 0.99)]


if __name__ == "__main__":
    sys.exit(main())
