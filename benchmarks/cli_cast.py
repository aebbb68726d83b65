"""What `rune cast` of 50 services costs beside the start of the process: its own time, and the whole wait.

The server is the tests' orchestrator in memory, whose services run at once; it shares the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from unit.client.plane import TOKEN
from unit.client.served import serving

ROUNDS = 5
SERVICES = 50
RUNE = str(Path(sys.executable).with_name("rune"))


def main() -> None:
    """Print both sides."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fifty.yaml"
        rows = [f"- {{name: sleep-{n}, command: [/bin/sleep, '600']}}" for n in range(SERVICES)]
        file.write_text("services:\n" + "\n".join(rows) + "\n", encoding="utf-8")
        start = min(_run("get", "services", folder=folder) for _ in range(ROUNDS))
        cast = min(_run("cast", str(file), folder=folder) for _ in range(ROUNDS))
    for name, (wall, cpu) in (("rune get services", start), (f"rune cast, {SERVICES} services", cast)):
        print(f"{name:26} {wall * 1e3:6.0f} ms, of which its own {cpu * 1e3:6.0f} ms")
    wall, cpu = (cast[side] - start[side] for side in (0, 1))
    print(f"on top of the start: {wall * 1e3:.0f} ms, its own {cpu * 1e3:.0f} ms")


def _run(*args: str, folder: str) -> tuple[float, float]:
    """Seconds on the clock, and of the processor, of one run against a new server."""
    with serving() as served:
        environ = {"HOME": folder, "RUNE_SERVER": served.address, "RUNE_TOKEN": TOKEN}
        started = time.perf_counter()
        process = subprocess.Popen([RUNE, *args], env=environ, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
