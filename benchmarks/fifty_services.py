"""Fifty services of /bin/sleep: from one command until all run, and from a kill until one runs again.

Rune beside supervisord, in turns, both with their daemon already up and empty. "Runs" means that the program
is visible in /proc; only what came after the command is looked at, so that looking costs either side little.
Both sides may keep compiled modules, as installed programs do; a turn before those that count makes them.
At the end: what runed takes when nothing happens, with its fifty services.
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
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
COUNT = 50
TURNS = 5
KILLS = 10
PATIENCE = 30.0
IDLE_SECONDS = 10.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Side(ABC):
    """A daemon that is up and empty, and the command that fills it."""

    name = ""
    daemon: subprocess.Popen[bytes]

    def __init__(self, folder: Path, marker: str) -> None:
        self.folder, self.marker = folder, marker
        self.others: set[str] = set()

    @abstractmethod
    def apply(self) -> subprocess.Popen[bytes]:
        """Begin to declare the fifty."""

    @abstractmethod
    def end(self) -> None:
        """End it and everything it runs."""

    def running(self) -> set[int]:
        """The pids of the programs that run."""
        wanted = f"/bin/sleep\0{self.marker}\0".encode()
        found: set[int] = set()
        for name in pids():
            if name not in self.others and read(f"/proc/{name}/cmdline") == wanted:
                found.add(int(name))
        return found


class Rune(Side):
    """runed, and `rune cast`."""

    name = "rune"

    def __init__(self, folder: Path, marker: str) -> None:
        super().__init__(folder, marker)
        reader, writer = os.pipe()
        flags = ["--dev", "--data-dir", folder / "data", "--ready-fd", str(writer)]
        addresses = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]
        self.daemon = subprocess.Popen(
            [BIN / "runed", *flags, *addresses], pass_fds=[writer], stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )
        os.close(writer)
        with os.fdopen(reader) as ready:
            told = json.loads(ready.readline())
        self.environment = {**ENVIRONMENT, "RUNE_SERVER": told["grpc"], "RUNE_TOKEN": told["token"]}
        command = f"{{command: /bin/sleep, args: ['{marker}']}}"
        services = "".join(f"  - {{name: s{number}, process: {command}}}\n" for number in range(COUNT))
        (folder / "fifty.yaml").write_text(f"services:\n{services}")

    def apply(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BIN / "rune", "cast", self.folder / "fifty.yaml"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )

    def end(self) -> None:
        self.daemon.terminate()
        self.daemon.wait(PATIENCE)


class Supervisord(Side):
    """supervisord, and `supervisorctl update` after fifty programs were added to its configuration."""

    name = "supervisord"

    def __init__(self, folder: Path, marker: str) -> None:
        super().__init__(folder, marker)
        self.file = folder / "supervisord.conf"
        self.head = (
            f"[unix_http_server]\nfile={folder}/sock\n"
            f"[supervisord]\nlogfile={folder}/log\npidfile={folder}/pid\nchildlogdir={folder}\nuser=root\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{folder}/sock\n"
        )
        self.file.write_text(self.head)
        self.daemon = subprocess.Popen(
            [BIN / "supervisord", "-n", "-c", self.file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        until((folder / "sock").exists)
        programs = "".join(f"[program:s{number}]\ncommand=/bin/sleep {marker}\n" for number in range(COUNT))
        self.file.write_text(self.head + programs)

    def apply(self) -> subprocess.Popen[bytes]:
        command = [BIN / "supervisorctl", "-c", self.file, "update"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)

    def end(self) -> None:
        self.daemon.terminate()
        self.daemon.wait(PATIENCE)


def main() -> None:
    """Take turns, then print both sides."""
    starts: dict[str, list[float]] = {"rune": [], "supervisord": []}
    kills: dict[str, list[float]] = {}
    idle: list[str] = []
    for turn in range(TURNS + 1):
        for number, kind in enumerate((Rune, Supervisord)):
            with up(kind, str(36_000 + turn * 10 + number)) as side:
                seconds = start(side)
                if turn:
                    starts[side.name].append(seconds)
                if turn == TURNS:
                    kills[side.name] = [kill(side) for _ in range(KILLS)]
                    idle.append(footprint(side))
    ratio = statistics.median(starts["rune"]) / statistics.median(starts["supervisord"])
    print(f"{COUNT} services until all run: ratio {ratio:.2f} (bar: at most 1.0)")
    tell(starts)
    print("killed until it runs again (bar: at most 50 ms median)")
    tell(kills)
    print("\n".join(idle))


@contextmanager
def up(kind: type[Side], marker: str) -> Generator[Side]:
    """A side on a folder of its own, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="fifty-") as folder:
        side = kind(Path(folder), marker)
        try:
            yield side
        finally:
            side.end()


def tell(figures: dict[str, list[float]]) -> None:
    """Each side's median, and the smallest and the largest."""
    for name, seconds in figures.items():
        low, middle, high = (each * 1000 for each in (min(seconds), statistics.median(seconds), max(seconds)))
        print(f"  {name:12} {middle:6.0f} ms ({low:.0f} to {high:.0f})")


def start(side: Side) -> float:
    """Seconds from the command until all fifty run."""
    side.others = set(pids())
    begin = time.perf_counter()
    command = side.apply()
    until(lambda: len(side.running()) == COUNT)
    seconds = time.perf_counter() - begin
    if command.wait(PATIENCE):
        raise SystemExit(f"{side.name}: the command failed")
    return seconds


def kill(side: Side) -> float:
    """Seconds from a SIGKILL until another program runs in place of the killed one."""
    time.sleep(1.1)  # supervisord takes a program for started after a second
    before = side.running()
    victim = min(before)
    begin = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(side.running() - {victim}) == COUNT)
    return time.perf_counter() - begin


def footprint(side: Side) -> str:
    """What the daemon takes at rest."""
    daemon = psutil.Process(side.daemon.pid)
    time.sleep(2)
    before = daemon.cpu_times()
    time.sleep(IDLE_SECONDS)
    after = daemon.cpu_times()
    cores = abs(after.user + after.system - before.user - before.system) / IDLE_SECONDS
    megabytes = daemon.memory_info().rss / 2**20
    memory = f"{megabytes:.0f} MB RSS (bar 120)"
    return f"{side.name} at rest with {COUNT}: {memory}, {cores:.2%} of a core (bar 0.5 %)"


def until(condition: Callable[[], bool]) -> None:
    """Look again and again."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("gave up waiting")
        time.sleep(0.001)


def pids() -> list[str]:
    """Every process there is."""
    return [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]


def read(path: str) -> bytes:
    """What a file of /proc says; nothing when its process has gone."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a thousand times a second
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    main()
