"""Disturbances of a whole runed with all that it runs, from a seed, and what has to hold through each.

After each one the wanted state is reached again, nothing that was acknowledged is lost, every line of every
log is there or told lost, and nothing was started again that was not hit.
"""

from __future__ import annotations

import asyncio
import os
import random  # noqa: TID251 - seeded, so that a test can be repeated
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from engines import IMAGE, Engine
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType
from runed import Runed
from witnesses import COUNTED, Writers, goes_on, numbers

DISK = "96m"
FULL = 20.0
"""Seconds until a full disk must be noticed."""


class Kind(StrEnum):
    """What is done to it."""

    RUNED = "kill runed"
    INSTANCES = "kill instances"
    CONTAINERS = "kill containers"
    ENGINE = "kill dockerd"
    DISK = "fill the disk"
    PROBE = "skew a probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """What must not change of a copy that was not hit."""

    service: str
    pid: int
    container: str
    restarts: int


@dataclass(kw_only=True, slots=True)
class Round:
    """One disturbance and what came of it."""

    kind: Kind
    what: str = ""
    hit: set[str] = field(default_factory=set[str])
    """The instances that may have been started again; all others must be as they were."""
    healed: float = 0.0
    """When the cause was gone, by the monotonic clock."""
    seconds: float = 0.0
    """From then until everything was as it is wanted."""
    acknowledged: int = 0
    refused: int = 0
    lines: int = 0


class Stage:
    """A server, what it runs, and what can be done to it."""

    def __init__(self, server: Runed, folder: Path, *, engine: Engine | None, seed: int) -> None:
        self.server = server
        self.folder = folder
        self.engine = engine
        self.flags: Sequence[str] = ()
        self.writers = Writers(server)
        self._chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
        self._scales = {"counter": 4, "asked": 2, **({"boxes": 2} if engine else {})}
        self._seen: dict[str, list[int]] = {}

    def rounds(self, count: int) -> list[Kind]:
        """Every kind that can be had here, equally often, in an order that chance decides."""
        kinds = [
            kind
            for kind in Kind
            if (self.engine or kind not in {Kind.CONTAINERS, Kind.ENGINE})
            and (self.disk or kind is not Kind.DISK)
        ]
        order: list[Kind] = []
        while len(order) < count:
            order += self._chance.sample(kinds, len(kinds))
        return order[:count]

    @property
    def disk(self) -> Path | None:
        """The small file system that the data folder is on, if it is on one of its own."""
        place = self.server.folder.parent
        return place if place.is_mount() else None

    async def set_up(self) -> None:
        """Start it, with everything it runs."""
        config = self.folder / "runefile.yaml"
        docker = f"{{socket: {self.engine.socket}}}" if self.engine else "{enabled: 'false'}"
        config.write_text(f"runner: {{docker: {docker}}}\n", encoding="utf-8")
        self.flags = ("--dev", "--config", str(config))
        await self.server.start(*self.flags)
        script = ["sh", "-c", COUNTED]
        await self.server.cast("counter", script, scale=4)
        for name in ("liveness", "readiness"):
            self._verdict(name, "well")
        probes = HealthCheck(liveness=self._probe("liveness"), readiness=self._probe("readiness"))
        await self.server.cast("asked", script, scale=2, health=probes)
        if self.engine:
            box: dict[str, Any] = {
                "image": IMAGE,
                "command": "/bin/sh",
                "args": ["-c", COUNTED],
                "drain_seconds": 1,
            }
            await self.server.create("boxes", scale=2, **box)
        await self._well({})

    async def play(self, kind: Kind) -> Round:
        """One round; raises AssertionError where something does not hold that has to."""
        before = await self._copies()
        told = self.writers.acknowledged, self.writers.refused
        await self.writers.until(acknowledged=5)
        done = Round(kind=kind)
        await self._disturb(done, before)
        await self._well({name: before[name].pid for name in done.hit})
        done.seconds = time.monotonic() - done.healed
        self.writers.go_on()
        await self.writers.until(acknowledged=5)
        await self._judge(done, before)
        done.acknowledged = self.writers.acknowledged - told[0]
        done.refused = self.writers.refused - told[1]
        return done

    async def _disturb(self, done: Round, before: dict[str, Copy]) -> None:
        match done.kind:
            case Kind.RUNED:
                await self._kill_runed(done, before)
            case Kind.INSTANCES:
                self._kill(done, before, some=self._chance.randint(1, 3))
                done.healed = time.monotonic()
            case Kind.CONTAINERS:
                self._kill_containers(done, before)
            case Kind.ENGINE:
                await self._kill_engine(done, before)
            case Kind.DISK:
                await self._fill_disk(done, before)
            case Kind.PROBE:
                await self._skew_probe(done, before)

    async def _kill_runed(self, done: Round, before: dict[str, Copy]) -> None:
        self.server.kill()
        if self._chance.random() < 0.5:
            self._kill(done, before)
        await self.server.end(signal.SIGKILL)
        done.healed = time.monotonic()
        await self.server.start(*self.flags)

    def _kill(self, done: Round, before: dict[str, Copy], *, some: int = 1, service: str = "") -> None:
        """Kill processes; containers only when they are named."""
        chosen = [
            name
            for name, copy in sorted(before.items())
            if copy.service == service or (not service and copy.service != "boxes")
        ]
        for name in self._chance.sample(chosen, some):
            os.kill(before[name].pid, signal.SIGKILL)
            done.hit.add(name)
            done.what += f" {before[name].service}"

    def _kill_containers(self, done: Round, before: dict[str, Copy]) -> None:
        assert self.engine
        done.healed = time.monotonic()
        if self._chance.random() < 0.5:
            self._kill(done, before, some=self._chance.randint(1, 2), service="boxes")
            return
        boxes = sorted(name for name, copy in before.items() if copy.service == "boxes")
        victim = self._chance.choice(boxes)
        self.engine.docker("rm", "-f", before[victim].container)
        self._seen.pop(victim, None)  # its lines went with the container
        done.hit.add(victim)
        done.what = " by docker rm -f"

    async def _kill_engine(self, done: Round, before: dict[str, Copy]) -> None:
        assert self.engine
        how = self._chance.choice([signal.SIGKILL, signal.SIGTERM])
        done.what = f" with {how.name}"
        await asyncio.to_thread(self.engine.lose, how)
        if self._chance.random() < 0.5:
            self._kill(done, before, service="boxes")
        await self.writers.until(acknowledged=5)
        await asyncio.to_thread(self.engine.start)
        done.healed = time.monotonic()

    async def _fill_disk(self, done: Round, before: dict[str, Copy]) -> None:
        assert self.disk
        ballast = self.disk / "ballast"
        self.writers.padding = 20_000  # so that what SQLite has in reserve is used up soon
        await asyncio.to_thread(fill, ballast)
        if self._chance.random() < 0.5:
            self._kill(done, before)
        async with asyncio.timeout(FULL):
            await self.writers.until(refused=1)
        self.writers.padding = 0
        ballast.unlink()
        done.healed = time.monotonic()

    async def _skew_probe(self, done: Round, before: dict[str, Copy]) -> None:
        name = self._chance.choice(["liveness", "readiness"])
        manner = self._chance.choice(["wrong", "slow"])
        done.what = f" ({name} {manner})"
        self._verdict(name, manner)
        asked = {each: copy for each, copy in before.items() if copy.service == "asked"}
        if name == "liveness":
            done.hit |= asked.keys()
            await self.server.until("asked", lambda seen: _renewed(seen, asked))
        else:
            await self.server.until("asked", lambda seen: not any(copy.ready for copy in seen.instances))
        self._verdict(name, "well")
        done.healed = time.monotonic()

    def _verdict(self, name: str, word: str) -> None:
        """Say what the probe of that name answers from now on."""
        new = self.folder / "new"
        new.write_text(word, encoding="utf-8")
        new.rename(self.folder / name)

    def _probe(self, name: str) -> Probe:
        script = f'case $(cat "{self.folder / name}") in well) ;; slow) exec sleep 60 ;; *) exit 1 ;; esac'
        period: dict[str, Any] = {"period_seconds": 1, "timeout_seconds": 1, "failure_threshold": 2}
        return Probe(type=ProbeType.EXEC, command=["sh", "-c", script], **period)

    async def _well(self, hit: dict[str, int]) -> None:
        """Wait until as many copies as wanted are ready, those that were hit as other processes."""
        for name, scale in self._scales.items():

            def is_well(service: Service, scale: int = scale) -> bool:
                return (
                    service.status is ServiceStatus.RUNNING
                    and sum(copy.ready for copy in service.instances) == scale
                    and all(copy.pid != hit.get(copy.id) for copy in service.instances)
                )

            await self.server.until(name, is_well)

    async def _copies(self) -> dict[str, Copy]:
        found: dict[str, Copy] = {}
        for name in self._scales:
            for each in await self.server.copies(name):
                restarts = each.metadata.restart_count if each.metadata else 0
                found[each.id] = Copy(
                    service=name, pid=each.pid, container=each.container_id, restarts=restarts
                )
        return found

    async def _judge(self, done: Round, before: dict[str, Copy]) -> None:
        after = await self._copies()
        assert after.keys() == before.keys(), "an instance was replaced by another"
        disturbed = {name for name, copy in before.items() if name not in done.hit and after[name] != copy}
        assert not disturbed, f"started again without being hit: {disturbed}"
        idle = {name for name in done.hit if after[name].restarts <= before[name].restarts}
        assert not idle, f"hit, and no restart counted: {idle}"
        lost = await self.writers.losses()
        assert not lost, f"acknowledged and lost: {lost}"
        async with asyncio.TaskGroup() as group:
            for name in after:
                group.create_task(goes_on(self.server, name))
        for name in after:
            seen = await numbers(self.server, name)
            earlier = self._seen.get(name, [])
            kept = all(now >= then for now, then in zip(seen, earlier, strict=False))
            assert kept, f"the log of {name} is shorter: {seen} after {earlier}"
            assert name in done.hit or not earlier or len(seen) == len(earlier), f"{name} began anew"
            self._seen[name] = seen
            done.lines += sum(seen)


def _renewed(service: Service, before: dict[str, Copy]) -> bool:
    """Every copy was started again at least once."""

    def restarts(copy: Instance) -> int:
        return copy.metadata.restart_count if copy.metadata else 0

    return all(restarts(copy) > before[copy.id].restarts for copy in service.instances)


def fill(ballast: Path) -> None:
    """Take all the space that is left."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 65_536) == 65_536:
            pass
        while file.write(b"\0" * 512):
            pass


@contextmanager
def small_disk(folder: Path) -> Generator[str]:
    """A file system of its own at the folder; gives why not, where that needs more rights."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", f"size={DISK}", "rune", str(folder)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        yield "mounting a file system needs root"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", folder], check=True)


@asynccontextmanager
async def stage(folder: Path, *, engine: Engine | None, seed: int) -> AsyncGenerator[Stage]:
    """A stage that is set up, with writers at work; at the end nothing of it runs."""
    server = Runed(folder / "disk" / "data")
    made = Stage(server, folder, engine=engine, seed=seed)
    await made.set_up()
    try:
        async with made.writers.at_work():
            yield made
    finally:
        if not server.is_up:
            await server.start(*made.flags)
        await server.end()


async def played(
    folder: Path, *, engine: Engine | None, seed: int, count: int, tell: Callable[[Round], None]
) -> str:
    """Play so many rounds and tell each; gives what was left out, and why."""
    with small_disk(folder / "disk") as reason:
        async with stage(folder, engine=engine, seed=seed) as made:
            for kind in made.rounds(count):
                tell(await made.play(kind))
        return reason
