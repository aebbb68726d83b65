"""A command inside an instance (`exec`): it lives as long as the connection that asked for it."""

from __future__ import annotations

import os
import signal
from itertools import count

from . import groups, records, spawn
from .children import outcome
from .connection import Connection
from .instances import Instance, Instances
from .loop import Loop
from .records import RUNNING, Message

_numbers = count()


class Inside:
    """One command. Its input and output are runed's own pipes or terminal; no byte passes through here."""

    def __init__(self, instances: Instances, loop: Loop, connection: Connection) -> None:
        self._instances = instances
        self._loop = loop
        self._connection = connection
        self._pid = 0
        self._cgroup = ""
        self._status: int | None = None
        self._told = False
        self._over = False
        self._instance: Instance | None = None
        connection.on_message = self._asked
        connection.on_close = self._closed

    def start(self, asked: Message) -> None:
        """Answers `pid` or `refused`, and later `exit`."""
        stdio = self._connection.take_descriptors()
        instance = self._instances.known.get(asked["instance"])
        try:
            if not instance or instance.record.state != RUNNING:
                self._connection.send({"refused": f"instance {asked['instance']!r} does not run"})
                return
            self._spawn(instance, asked, stdio)
        except OSError as error:
            self._connection.send({"refused": f"{error.filename or 'fork'}: {os.strerror(error.errno or 0)}"})
        finally:
            for fd in stdio:
                os.close(fd)

    def _spawn(self, instance: Instance, asked: Message, stdio: list[int]) -> None:
        record = instance.record
        if record.cgroup:
            cgroup = f"{record.cgroup}/exec-{next(_numbers)}"
            os.mkdir(cgroup)
            self._cgroup = cgroup
        self._instance = instance
        instance.commands.add(self._kill)
        env = {**(instance.env or _environment(record.pid)), **asked["env"]}
        plan = spawn.Plan(asked["command"], env, asked["workdir"] or record.workdir)
        plan.uid, plan.gid, plan.groups = record.uid, record.gid, record.groups
        plan.cgroup, plan.stdio = self._cgroup, stdio
        plan.joins, plan.sandbox, plan.holder = record.joins, record.sandbox, record.holder
        self._pid = self._instances.children.bear(plan, self._ended, self._reported)

    def _reported(self, report: spawn.Report, why: str) -> None:
        self._pid = report.pid
        self._told = True
        self._connection.send({"refused": why} if why else {"pid": self._pid})
        if self._over:
            self._kill()
        if self._status is not None and not why:
            self._tell()

    def _ended(self, status: int) -> None:
        self._status = status
        if self._told:
            self._tell()

    def _tell(self) -> None:
        self._connection.send({"exit": outcome(self._status or 0)[0]})

    def _asked(self, message: Message) -> None:
        if message.get("op") == "signal" and self._pid and self._status is None:
            groups.send_group(self._pid, int(message["signal"]))

    def _closed(self) -> None:
        """The session is over, or runed is: so is everything it started."""
        self._over = True
        if self._instance:
            self._instance.commands.discard(self._kill)
        self._kill()

    def _kill(self) -> None:
        if self._cgroup:
            groups.kill(self._cgroup)
            self._instances.forget(self._cgroup)
        elif self._pid and not self._has_lost_its_pid():
            if self._status is None:
                groups.send_group(self._pid, signal.SIGKILL)
            groups.kill_found(self._pid, "", "", set())

    def _has_lost_its_pid(self) -> bool:
        """It ended, and somebody else has its pid by now; so nothing of its session is left either."""
        return self._status is not None and records.birth(self._pid) != 0


def _environment(pid: int) -> dict[str, str]:
    """What an adopted workload was started with; the keeper that knew it is gone."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = [os.fsdecode(item).partition("=") for item in file.read().split(b"\0") if item]
    except OSError:
        return {}
    return {name: value for name, _, value in pairs if name}
