"""Runs instances as processes of this machine. They belong to a keeper, so that they outlive runed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rune.errors import DeadlineExceeded, FailedPrecondition, NotFound, RuneError, Unavailable
from rune.orchestrator.runners import accounts, checks, link, logs, sessions
from rune.orchestrator.runners.base import (
    Command,
    LogLine,
    Mount,
    Observed,
    Session,
    State,
    Usage,
    Workload,
)
from rune.orchestrator.runners.files import Owner, Shelf
from rune.orchestrator.runners.inotify import Inotify
from rune.orchestrator.runners.isolation import admission, host
from rune.orchestrator.runners.isolation.orders import Rules, orders, wanted

logger = logging.getLogger(__name__)

ANSWER = 30.0
"""Seconds the keeper may take for what takes it milliseconds; past that something is badly wrong."""

BACKOFF = (0.0, 0.1, 0.5, 1.0, 5.0)
"""Seconds between attempts to get a keeper back; the last one for ever."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Used when neither the workload nor runed has one."""


class ProcessRunner:
    """The runner of plain processes; `data` is a folder of its own, one runed at a time.

    Call `close` to let go (keeper and workloads stay) or `shutdown` to end everything.
    """

    name = "process"

    def __init__(
        self,
        data: Path,
        *,
        now: Callable[[], datetime],
        options: link.Options | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._data = data.absolute()
        self._now = now
        self._options = options or link.Options()
        self._shelf = Shelf(self._options.files or self._data / "mounts")
        rules = rules or Rules()
        self._rules = msgspec.structs.replace(rules, hidden=[*rules.hidden, self._data])
        self.host = host.Host()
        """What this machine can enforce; known once it is started."""
        self._seen: dict[str, Observed] = {}
        self._notify: list[Callable[[Observed], None]] = []
        self._link: link.Link | None = None
        self._linked = asyncio.Event()
        self._minder: asyncio.Task[None] | None = None
        self._inotify: Inotify | None = None

    @property
    def keeper_pid(self) -> int:
        """The keeper's pid; 0 while there is none."""
        return self._link.hello.pid if self._link and not self._link.lost.is_set() else 0

    def checks(self) -> Mapping[str, str]:
        """By what can be enforced on processes, why it cannot be here; empty when it can."""
        return {f"process {feature}": self.host.lacks.get(feature, "") for feature in host.Feature}

    async def start(self) -> None:
        """Find the keeper or start one, and learn what runs and what ended meanwhile.

        Raises FailedPrecondition when another runed owns the folder. Twice is fine.
        """
        if self._minder:
            return
        await asyncio.to_thread(self._prepare)
        self._inotify = Inotify()
        try:
            await self._connect()
        except RuneError:
            self._inotify.close()
            raise
        self.host = await host.detect(self._link.hello.controllers if self._link else ())
        # Lives as long as the runner is started: `close` and `shutdown` end it.
        self._minder = asyncio.ensure_future(self._mind())

    async def ensure(self, workload: Workload) -> Observed:
        """Run it, in a session and (where there are any) a cgroup of its own, isolated as it asks."""
        checks.native(workload)
        seen = self.observe(workload.instance)
        if not checks.turn(workload, seen):
            return seen
        account = await self.admit(workload)
        await self._lay(workload, account)
        scratch = self._data / "instances" / workload.instance / "scratch"
        isolated = orders(self._seeing(workload), self._rules, host=self.host, scratch=scratch)
        answer = await self._ask("ensure", {**self._request(workload, account), **isolated})
        if answer.turn:
            checks.turn(workload, answer.turn)
        return self._learn(answer.seen or answer.turn, workload.instance)

    async def refresh(self, workload: Workload) -> None:
        """Replace its mounted files, each folder in one step."""
        seen = self.observe(workload.instance)
        if seen.state is State.RUNNING and seen.attempt == workload.attempt:
            account = await asyncio.to_thread(accounts.resolve, workload.user, workload.group)
            await self._lay(workload, account)

    async def admit(self, workload: Workload) -> accounts.Account:
        """Who it would run as; raises FailedPrecondition for what this machine cannot enforce of it."""
        asks = admission.needs(workload, self._rules.mode) or workload.user or workload.group
        if not asks:
            return accounts.Account()
        return await asyncio.to_thread(admission.admit, workload, self._rules.mode, self.host)

    async def usage(self, instance: str) -> Usage:
        """What its cgroup, or /proc, says."""
        if self.observe(instance).state is not State.RUNNING:
            raise FailedPrecondition(f"instance {instance!r} does not run")
        used = (await self._ask("usage", {"instance": instance})).usage
        if used is None:
            raise FailedPrecondition(f"instance {instance!r} does not run")
        if used.cpu_seconds is None or used.memory is None:
            raise FailedPrecondition("what processes use is not known on this machine: it needs cgroups")
        return Usage(
            instance=instance,
            at=self._now(),
            cpu_seconds=used.cpu_seconds,
            memory=used.memory,
            memory_limit=used.memory_limit,
        )

    def observe(self, instance: str) -> Observed:
        """What is known now."""
        return self._seen.get(instance) or Observed(instance=instance, state=State.ABSENT)

    def all(self) -> Sequence[Observed]:
        """Every instance of this data folder."""
        return list(self._seen.values())

    def on_change(self, notify: Callable[[Observed], None]) -> None:
        """Call `notify` at each start and end, within a few milliseconds."""
        self._notify.append(notify)

    async def stop(self, instance: str, *, grace: float) -> Observed:
        """The keeper does it, also when this runed ends meanwhile.

        Raises DeadlineExceeded when even SIGKILL did not end it (a process that hangs in the kernel).
        """
        if self.observe(instance).state is not State.RUNNING:
            return self.observe(instance)
        fields = {"instance": instance, "grace": grace}
        try:
            answer = await self._ask("stop", fields, within=grace + ANSWER)
        except DeadlineExceeded as error:
            message = f"instance {instance!r} did not end within {grace:g} s and a SIGKILL"
            raise DeadlineExceeded(message) from error
        return self._learn(answer.seen, instance)

    async def remove(self, instance: str) -> None:
        """Kill it, forget it and delete its folder."""
        checks.instance_id(instance)
        # First, so that a crash in between leaves something that is removed again: the instance.
        await asyncio.to_thread(self._shelf.remove, instance)
        await self._ask("remove", {"instance": instance})
        self._seen.pop(instance, None)
        if self._inotify:
            self._inotify.wake(self._log_folder(instance))
        await asyncio.to_thread(self._empty_trash)

    async def close(self) -> None:
        """Let go. The keeper and the workloads stay; a later `start` finds them. Twice is fine."""
        if self._minder:
            self._minder.cancel()
            await asyncio.wait([self._minder])
            self._minder = None
        if self._link:
            self._link.close()
            await self._link.lost.wait()
            self._link = None
        self._linked.clear()
        if self._inotify:
            self._inotify.close()
            self._inotify = None

    async def shutdown(self, *, grace: float) -> None:
        """End everything: stop every instance, end the keeper, then let go. Logs and records stay."""
        async with asyncio.TaskGroup() as group:
            for instance in list(self._seen):
                group.create_task(self.stop(instance, grace=grace))
        keeper, minder = self._link, self._minder
        if minder:
            minder.cancel()
        with contextlib.suppress(Unavailable):  # it leaves instead of answering
            await self._ask("exit", {})
        if keeper:
            async with asyncio.timeout(ANSWER):
                await keeper.lost.wait()
        await asyncio.to_thread(self._shelf.clear)
        await self.close()

    async def logs(
        self,
        instance: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """Batches of lines, read from the instance's files; keeper and workload notice nothing."""
        checks.instance_id(instance)
        folder = self._log_folder(instance)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)  # the first line would, and may not have been written yet
            reader = logs.Reader(instance, folder, since=since, until=until)
        except FileNotFoundError as error:
            message = f"instance {instance!r} has no logs on this machine"
            raise NotFound(message) from error
        try:
            async for batch in reader.kept(tail):
                yield batch
            if follow and self._inotify:
                with self._inotify.watch(folder) as watch:
                    async for batch in reader.follow(watch, self._now):
                        yield batch
            if rest := reader.rest():
                yield rest
        finally:
            reader.close()

    async def exec(self, instance: str, command: Command) -> Session:
        """Run a command as a child of the keeper, in the instance's cgroup, with its user, environment and
        folder.
        """
        checks.command(command)
        return await sessions.start(self._data, instance, command)

    async def _lay(self, workload: Workload, account: accounts.Account) -> None:
        if workload.files:
            owner = Owner(account.uid, account.gid)
            await asyncio.to_thread(self._shelf.lay, workload.instance, workload.files, owner)

    def _seeing(self, workload: Workload) -> Workload:
        """The workload with its mounted files shown in its sandbox, where it has both."""
        if not workload.files or wanted(workload, self._rules.mode) is None:
            return workload
        folder = str(self._shelf.folder(workload.instance))
        mounts = [*workload.mounts, Mount(source=folder, target=folder)]
        return msgspec.structs.replace(workload, mounts=mounts)

    def _request(self, workload: Workload, account: accounts.Account) -> Mapping[str, Any]:
        folder = self._shelf.folder(workload.instance)
        mounts = {"RUNE_MOUNTS": str(folder)} if workload.files else {}
        mounts |= {name: str(folder / path) for name, path in workload.paths.items()}
        return {
            "instance": workload.instance,
            "attempt": workload.attempt,
            "command": list(workload.command),
            "env": {"PATH": os.environ.get("PATH") or PATH, **workload.env, **mounts},
            "workdir": workload.workdir,
            **account._asdict(),
        }

    async def _ask(self, op: str, fields: Mapping[str, Any], *, within: float = ANSWER) -> link.Answer:
        try:
            async with asyncio.timeout(link.START):
                await self._linked.wait()
        except TimeoutError as error:
            raise Unavailable(link.GONE) from error
        if self._link is None:
            message = "the process runner is not started"
            raise Unavailable(message)
        return await self._link.ask(op, fields, within=within)

    async def _connect(self) -> None:
        self._link = await link.connect(self._data, self._options, self._saw)
        for name in self._seen.keys() - {seen.instance for seen in self._link.hello.instances}:
            self._saw(Observed(instance=name, state=State.ABSENT))
            del self._seen[name]
        self._linked.set()

    async def _mind(self) -> None:
        """Whenever the keeper is lost, get it back or start another, which adopts what runs."""
        while self._link:
            await self._link.lost.wait()
            self._linked.clear()
            logger.warning("keeper lost")
            await self._reconnect()
            logger.warning("keeper back", extra={"keeper": self.keeper_pid})

    async def _reconnect(self) -> None:
        tries = 0
        while True:
            await asyncio.sleep(BACKOFF[min(tries, len(BACKOFF) - 1)])
            tries += 1
            try:
                await self._connect()
            except (RuneError, OSError) as error:
                logger.warning("keeper out of reach", extra={"reason": str(error), "tries": tries})
            else:
                return

    def _saw(self, seen: Observed) -> None:
        """Keep what is newer, and tell it once."""
        if self._seen.get(seen.instance) != seen:
            self._seen[seen.instance] = seen
            for notify in self._notify:
                notify(seen)

    def _learn(self, seen: Observed | None, instance: str) -> Observed:
        """An answer may arrive before the news of the same thing."""
        if seen is None:
            return Observed(instance=instance, state=State.ABSENT)
        known = self._seen.get(instance)
        if known is None or (known.attempt, known.state is State.EXITED) <= (
            seen.attempt,
            seen.state is State.EXITED,
        ):
            self._saw(seen)
        return seen

    def _log_folder(self, instance: str) -> Path:
        return self._data / "instances" / instance / "log"

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._empty_trash()

    def _empty_trash(self) -> None:
        """What was removed; several at once may try the same, and whoever comes second is fine."""
        trash = self._data / "trash"
        for folder in trash.iterdir() if trash.is_dir() else ():
            shutil.rmtree(folder, ignore_errors=True)
