"""Runs instances as containers of one Docker Engine, which keeps them going whether runed is there or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec

from rune.errors import DeadlineExceeded, FailedPrecondition, RuneError
from rune.orchestrator.runners import checks
from rune.orchestrator.runners.base import (
    Command,
    LogLine,
    Observed,
    PullPolicy,
    Session,
    State,
    Usage,
    Workload,
)
from rune.orchestrator.runners.docker import containers, refusals
from rune.orchestrator.runners.docker.calls import delete, inspect
from rune.orchestrator.runners.docker.containers import Container, Created, Listed
from rune.orchestrator.runners.docker.engine import Engine, Refused, decode
from rune.orchestrator.runners.docker.files import mounted
from rune.orchestrator.runners.docker.images import Images
from rune.orchestrator.runners.docker.ledger import Ledger
from rune.orchestrator.runners.docker.logs import Reader, Window
from rune.orchestrator.runners.docker.networks import Apart, Networks
from rune.orchestrator.runners.docker.sessions import Commands
from rune.orchestrator.runners.docker.stats import Stats
from rune.orchestrator.runners.docker.watch import Watch
from rune.orchestrator.runners.files import Shelf

logger = logging.getLogger(__name__)

SOCKET = "unix:///var/run/docker.sock"

STARTS = 8
"""Starts at a time: more only wait inside the Engine, fewer leave it idle (measured on two cores)."""

LOOKS = 16
"""Questions at a time when everything is looked at."""

KEPT = 3
"""Attempts of an instance whose containers are kept, the running one included, for their logs."""

KILL = 20.0
"""Seconds after SIGKILL in which a container must have ended."""

CONFLICT = 409


class DockerRunner:
    """The runner of containers; `owner` tells its own from those of another runed on the same Engine.

    Mounted files lie below `files`, which the Engine must see under the same path.
    """

    name = "docker"

    def __init__(
        self,
        url: str = SOCKET,
        *,
        now: Callable[[], datetime],
        owner: str = "rune",
        files: Path | None = None,
    ) -> None:
        self._engine = Engine(url)
        self._now = now
        self._owner = owner
        self._shelf = Shelf(files) if files else None
        self._ledger = Ledger()
        self._images = Images(self._engine)
        self._networks = Networks(self._engine, owner)
        self._commands = Commands(self._engine)
        self._watch = Watch(self._engine, owner, self)
        apart = Apart(self._engine, owner, self._networks, see=self.look)
        self.cut_off, self.reconnect = apart.cut_off, apart.reconnect
        self._starts = asyncio.Semaphore(STARTS)
        self._looks = asyncio.Semaphore(LOOKS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self) -> None:
        """Learn what runs and what ended meanwhile.

        Raises Unavailable when the Engine is out of reach, and then goes on trying: once it is back,
        everything is found and told.
        """
        await self._watch.start()

    async def ensure(self, workload: Workload) -> Observed:
        """Run it in a container of this attempt alone, after its image was pulled if need be."""
        checks.container(workload)
        self._watch.require()
        async with self._lock(workload.instance):
            seen = self._ledger.seen(workload.instance)
            if not checks.turn(workload, seen):
                return seen
            try:
                seen = await self._place(await mounted(workload, self._shelf))
            except RuneError:
                await self._vacate(workload.namespace)
                raise
            await self._prune(workload.instance)
            return seen

    async def refresh(self, workload: Workload) -> None:
        """Replace its mounted files; the folders stay, so the container sees the new ones at once."""
        async with self._lock(workload.instance):
            seen = self._ledger.seen(workload.instance)
            if seen.state is State.RUNNING and seen.attempt == workload.attempt:
                await mounted(workload, self._shelf)

    def observe(self, instance: str) -> Observed:
        """What is known now; while the Engine is out of reach its message says that this may be old."""
        return self._mark(self._ledger.seen(instance))

    def all(self) -> Sequence[Observed]:
        """Every instance of this owner."""
        return [self._mark(seen) for seen in self._ledger.all()]

    def on_change(self, notify: Callable[[Observed], None]) -> None:
        """Call `notify` at each start and end, as the Engine's events come."""
        self._ledger.on_change(notify)

    def on_turn(self, notify: Callable[[], None]) -> None:
        """Call `notify` whenever the Engine is lost, and whenever it is back."""
        self._watch.on_turn(notify)

    async def stop(self, instance: str, *, grace: float) -> Observed:
        """SIGTERM, or the signal that the image asks for; then SIGKILL.

        Raises DeadlineExceeded when even that did not end it (a process that hangs in the kernel).
        """
        self._watch.require()
        if self._ledger.seen(instance).state is not State.RUNNING:
            return self._ledger.seen(instance)
        container = await self._current(instance)
        if container is not None and grace > 0:
            await self._kill(instance, container, container.config.stop_signal or "SIGTERM")
            if await self._ended(instance, container.attempt, within=grace):
                return self._ledger.seen(instance)
        if container is not None:
            await self._kill(instance, container, "SIGKILL")
            if not await self._ended(instance, container.attempt, within=KILL):
                message = f"instance {instance!r} did not end within {KILL:g} s of SIGKILL"
                raise DeadlineExceeded(message)
        return self._ledger.seen(instance)

    async def remove(self, instance: str) -> None:
        """Kill it, then remove its containers with their logs, and the network when it was the last in it."""
        checks.instance_id(instance)
        self._watch.require()
        await self.stop(instance, grace=0)
        async with self._lock(instance):
            namespace = self._ledger.namespace(instance)
            if self._shelf:
                await asyncio.to_thread(self._shelf.remove, instance)
            for _, container in self._ledger.containers(instance):
                await delete(self._engine, container)
            self._ledger.forget(instance)
        await self._vacate(namespace)

    async def close(self) -> None:
        """Let go. The containers stay; a later `start` finds them. Twice is fine."""
        await self._watch.close()
        await self._commands.close()
        await self._images.close()
        await self._engine.close()
        self._ledger.wake()

    def logs(
        self,
        instance: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """Batches of lines of the kept attempts; a follower goes on after the Engine was away."""
        checks.instance_id(instance)
        reader = Reader(self._engine, self._ledger, self._watch, now=self._now)
        return reader.read(instance, Window(since=since, until=until), tail=tail, follow=follow)

    async def exec(self, instance: str, command: Command) -> Session:
        """Run a command in the container, with its user, environment, limits and rights."""
        checks.command(command)
        return await self._commands.start(self._running(instance), instance, command)

    async def usage(self, instance: str) -> Usage:
        """What its container has used by now."""
        container = self._running(instance)
        params = {"stream": "false", "one-shot": "true"}
        answer = await self._engine.call(
            "GET", f"containers/{container}/stats", what="measure a container", params=params
        )
        return decode(answer, Stats).usage(instance, self._now())

    # What the watch calls.

    async def look_at_all(self) -> None:
        """List what is there, look at each, and notice what is there no more."""
        self._networks.doubt()
        wanted = msgspec.json.encode({"label": [f"{containers.OWNER}={self._owner}"]}).decode()
        before = {
            container: instance
            for instance in self._ledger.instances()
            for _, container in self._ledger.containers(instance)
        }
        answer = await self._engine.call(
            "GET", "containers/json", what="list containers", params={"all": "1", "filters": wanted}
        )
        listed = {one.id: one.instance for one in decode(answer, list[Listed])}
        await self._commands.look_at_all()
        async with asyncio.TaskGroup() as group:
            for container, instance in {**before, **listed}.items():
                group.create_task(self._look_in_turn(container, instance))

    async def look(self, container: str, instance: str, *, only_started: bool = False) -> None:
        """See how a container is now, after the verb that is at work on it, which may have seen its start."""
        async with self._lock(instance):
            if not (only_started and self._ledger.runs(container, instance)):
                await self._see(container, instance)

    def command_ended(self, command: str, code: int) -> None:
        """A command inside a container ended."""
        self._commands.ended(command, code)

    def lost(self) -> None:
        """The Engine is out of reach: whoever waits for an instance looks again."""
        self._ledger.wake()

    def _running(self, instance: str) -> str:
        """The container that runs; raises FailedPrecondition when none does."""
        self._watch.require()
        if self._ledger.seen(instance).state is not State.RUNNING:
            raise FailedPrecondition(f"instance {instance!r} does not run")
        return self._ledger.containers(instance)[-1][1]

    async def _place(self, workload: Workload) -> Observed:
        """Run it in the network of its namespace, made anew if somebody else removed it meanwhile."""
        try:
            async with self._networks.use(workload.namespace):
                return await self._begin(workload)
        except refusals.NoNetwork:
            self._networks.doubt(workload.namespace)
        async with self._networks.use(workload.namespace):
            return await self._begin(workload)

    async def _vacate(self, namespace: str) -> None:
        """A namespace without instances needs no network."""
        if namespace and not self._ledger.tenants(namespace):
            await self._networks.leave(namespace)

    async def _begin(self, workload: Workload) -> Observed:
        if workload.pull is PullPolicy.ALWAYS:
            await self._images.pull(workload)
        try:
            return await self._run(workload)
        except refusals.NoImage as error:
            if workload.pull is PullPolicy.NEVER:
                message = f"image {workload.image!r} is not on this machine, and its pull policy is never"
                raise FailedPrecondition(message) from error
        await self._images.pull(workload)
        return await self._run(workload)

    async def _run(self, workload: Workload) -> Observed:
        async with self._starts:
            container = await self._create(workload)
            if container:
                await self._launch(container, workload)
        if container:
            return await self._see(container, workload.instance)
        return self._ledger.seen(workload.instance)

    async def _create(self, workload: Workload) -> str:
        """The new container; empty when this attempt has one already that was started."""
        name = containers.name(self._owner, workload)
        try:
            return await self._make(name, workload)
        except Refused as error:
            if error.status != CONFLICT:
                raise refusals.explain(error, workload) from error
        # An answer of the Engine was lost: see what became of it. One that never started is removed there.
        left = await self._see(name, workload.instance)
        if left.attempt == workload.attempt and left.state is not State.ABSENT:
            return ""
        try:
            return await self._make(name, workload)
        except Refused as error:
            raise refusals.explain(error, workload) from error

    async def _make(self, name: str, workload: Workload) -> str:
        answer = await self._engine.call(
            "POST",
            "containers/create",
            what="make a container",
            params={"name": name},
            body=containers.config(self._owner, workload),
        )
        return decode(answer, Created).id

    async def _launch(self, container: str, workload: Workload) -> None:
        """Start it, or leave no trace of it."""
        try:
            for network in workload.networks:
                what, body = f"join network {network!r}", {"Container": container}
                await self._engine.call("POST", f"networks/{quote(network)}/connect", what=what, body=body)
            await self._engine.call("POST", f"containers/{container}/start", what="start a container")
        except Refused as error:
            found = await inspect(self._engine, container)
            await delete(self._engine, container)
            path = containers.search_path(found) if found else ""
            raise refusals.explain(error, workload, path=path) from error

    async def _see(self, container: str, instance: str) -> Observed:
        """Look at it and take it down; to be called under the lock of its instance."""
        found = await inspect(self._engine, container)
        if found is None or not found.belongs(self._owner, instance):
            self._ledger.gone(container, instance, at=self._now())
            return self._ledger.seen(instance)
        seen = containers.observed(found)
        latest = self._ledger.seen(instance)
        stale = seen.state is State.RUNNING and seen.attempt < latest.attempt
        if seen.state is State.ABSENT or stale:
            logger.warning(
                "leftover container removed", extra={"instance": instance, "attempt": seen.attempt}
            )
            await delete(self._engine, found.id)
            return latest
        seen = self._ledger.saw(seen, namespace=found.labels[containers.NAMESPACE], container=found.id)
        if seen.state is State.EXITED:
            self._commands.instance_ended(instance)
        return seen

    async def _prune(self, instance: str) -> None:
        """Remove the oldest attempts. What fails is tried again after the next attempt."""
        for attempt, container in self._ledger.containers(instance)[:-KEPT]:
            try:
                await delete(self._engine, container)
            except RuneError as error:
                logger.warning("old attempt not removed", extra={"instance": instance, "reason": str(error)})
            else:
                self._ledger.drop(instance, attempt)

    async def _current(self, instance: str) -> Container | None:
        """Its running container, thawed if somebody paused it; None when it is gone."""
        _, container = self._ledger.containers(instance)[-1]
        found = await inspect(self._engine, container)
        if found is None:
            await self.look(container, instance)
        elif found.state.paused:
            await self._engine.call("POST", f"containers/{container}/unpause", what="thaw a container")
        return found

    async def _kill(self, instance: str, container: Container, signal: str) -> None:
        """Send it; an Engine that refuses is right when the container has ended meanwhile."""
        params = {"signal": signal}
        try:
            await self._engine.call(
                "POST", f"containers/{container.id}/kill", what="signal a container", params=params
            )
        except Refused:
            await self.look(container.id, instance)
            if self._ledger.seen(instance).state is State.RUNNING:
                raise

    async def _ended(self, instance: str, attempt: int, *, within: float) -> bool:
        """Whether this attempt ended within so many seconds; raises Unavailable if nobody could tell."""
        try:
            async with asyncio.timeout(within):
                while self._ledger.has_running(instance, attempt):
                    await self._ledger.changed(instance).wait()
                    self._watch.require()
        except TimeoutError:
            return not self._ledger.has_running(instance, attempt)
        return True

    async def _look_in_turn(self, container: str, instance: str) -> None:
        async with self._looks:
            await self.look(container, instance)

    def _mark(self, seen: Observed) -> Observed:
        """What ended stays so; anything else may be otherwise by now."""
        if not self._watch.reason or seen.state is State.EXITED:
            return seen
        return msgspec.structs.replace(seen, message=f"last known state: {self._watch.reason}")

    def _lock(self, instance: str) -> asyncio.Lock:
        return self._locks.setdefault(instance, asyncio.Lock())
