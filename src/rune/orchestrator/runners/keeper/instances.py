"""The instances of one data folder: started, watched, stopped, adopted and forgotten here."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from functools import partial

from . import cgroups, groups, records, spawn, streams
from .children import Children, outcome
from .journal import Journal, Limits, Stamps
from .loop import Loop
from .records import EXITED, RUNNING, Message, Record

Answer = Callable[[Message], None]

AFTER = 2.0
"""Seconds after an end for which we listen to whatever survived it, if anything can."""


class Instance:
    """One instance: its record, its output and who waits for what."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.before: Record | None = None
        """The last attempt, while the next has not started yet."""
        self.env: dict[str, str] = {}
        self.streams: streams.Streams | None = None
        self.started: list[Answer] = []
        self.ended: list[Answer] = []
        self.commands: set[Callable[[], None]] = set()
        """What ends the commands that run inside it."""
        self.status: int | None = None
        self.deadline = 0.0
        self.pidfd = -1

    @property
    def alive(self) -> bool:
        return self.record.state != EXITED


class Instances:
    """All of them, by id."""

    def __init__(self, data: str, loop: Loop, tree: cgroups.Tree) -> None:
        self._folder = f"{data}/instances"
        self._trash = f"{data}/trash"
        self._loop = loop
        self._stamps = Stamps()
        self._tree = tree
        self.limits = Limits()
        self.known: dict[str, Instance] = {}
        self.children = Children(loop)
        self._prepared: list[tuple[Instance, spawn.Plan]] = []
        """Starts whose process is not there yet. They are born together: after each fork every page of ours
        that is written to costs a fault, so between two of them there should be nothing else to do."""
        self.dying: set[str] = set()
        """Cgroups to remove once the last of what was killed in them is reaped."""
        self.push: Callable[[Message], None] = lambda _: None
        for folder in (self._folder, self._trash):
            os.makedirs(folder, exist_ok=True)
        os.chmod(self._folder, 0o711)  # noqa: S103 - a workload's user must reach its scratch folder
        os.chmod(self._trash, 0o700)

    # -- what runed asks for --------------------------------------------------------------------------

    def ensure(self, asked: Message, answer: Answer) -> None:
        """Start this attempt, unless it was; answers `seen` or `refused`."""
        instance = self.known.get(asked["instance"])
        if instance and instance.record.attempt == asked["attempt"]:
            if instance.record.state == records.STARTING:
                instance.started.append(answer)
            else:
                answer({"seen": instance.record.seen()})
            return
        if instance and (instance.alive or instance.record.attempt > asked["attempt"]):
            answer({"turn": instance.record.seen()})
            return
        self._start(asked, answer)

    def stop(self, name: str, grace: float, answer: Answer) -> None:
        """SIGTERM, then SIGKILL to all of it after the grace; answers `seen` once it has ended."""
        self._bear()
        instance = self.known.get(name)
        if not instance or not instance.alive:
            answer({"seen": instance.record.seen() if instance else None})
            return
        instance.ended.append(answer)
        deadline = time.monotonic() + grace
        if not instance.deadline and instance.record.pid:
            groups.send_group(instance.record.pid, signal.SIGTERM)
        if not instance.deadline or deadline < instance.deadline:
            instance.deadline = deadline
            self._loop.later(grace, lambda: self._overdue(instance, deadline))

    def remove(self, name: str, answer: Answer) -> None:
        """Kill it if it runs and forget it; its folder waits in the trash for runed to delete."""
        instance = self.known.get(name)
        if instance and instance.alive:
            self.stop(name, 0, lambda _: self.remove(name, answer))
            return
        if instance:
            if instance.streams:
                instance.streams.close()
            del self.known[name]
        self._discard(name)
        answer({"removed": name})

    # -- a start --------------------------------------------------------------------------------------

    def _start(self, asked: Message, answer: Answer) -> None:
        name = asked["instance"]
        before = self.known.get(name)
        if before and before.streams:
            before.streams.close()
        instance = Instance(Record(name, asked["attempt"]))
        instance.before = before.record if before else None
        instance.env = asked["env"]
        instance.started.append(answer)
        self.known[name] = instance
        try:
            self._prepared.append((instance, self._prepare(instance, asked)))
        except OSError as error:
            self._fail(instance, error)
            return
        if len(self._prepared) == 1:
            self._loop.later(0, self._bear)

    def _bear(self) -> None:
        """Start what is prepared; whatever else came in the same round has been prepared as well."""
        prepared, self._prepared = self._prepared, []
        for instance, plan in prepared:
            try:
                instance.record.pid = self.children.bear(
                    plan,
                    partial(self._reaped, instance),
                    partial(self._reported, instance),
                )
            except OSError as error:
                self._fail(instance, error)

    def _fail(self, instance: Instance, error: OSError) -> None:
        self._refuse(instance, f"{error.filename or self._folder}: {os.strerror(error.errno or 0)}")

    def _prepare(self, instance: Instance, asked: Message) -> spawn.Plan:
        record = instance.record
        folder = self.folder(record.instance)
        record.uid, record.gid, record.groups = asked["uid"], asked["gid"], asked["groups"]
        if records.made(folder):
            os.chmod(folder, 0o711)  # noqa: S103 - a workload's user must reach its scratch folder
        record.workdir = asked["workdir"] or f"{folder}/scratch"
        if not asked["workdir"]:
            records.made(record.workdir)
            if record.uid >= 0:
                os.chown(record.workdir, record.uid, record.gid)
        record.limits = asked.get("limits") or {}
        sandbox: Message | None = asked.get("sandbox")
        record.cgroup, record.joins = self._tree.place(
            f"{record.instance}:{record.attempt}", record.limits, sandboxed=bool(sandbox)
        )
        # A name that was waiting for its removal is in use again: it must not be removed under the start.
        self.dying -= {record.cgroup, *record.joins}
        if sandbox:
            record.sandbox = {name: sandbox[name] for name in ("capabilities", "filter")}
        streams.make(folder, record.uid, record.gid)
        instance.streams = self._streams(folder)
        plan = spawn.Plan(asked["command"], asked["env"], record.workdir)
        plan.uid, plan.gid, plan.groups, plan.cgroup = record.uid, record.gid, record.groups, record.cgroup
        plan.joins, plan.sandbox = record.joins, record.sandbox
        plan.wrap = sandbox["wrap"] if sandbox else []
        plan.folder, plan.record = folder, record.begin(folder)
        return plan

    def _reported(self, instance: Instance, report: spawn.Report, why: str) -> None:
        instance.record.pid, instance.record.holder = report.pid, report.holder
        if why:
            self._refuse(instance, why)
            return
        record = instance.record
        record.state = RUNNING
        if report.holder:
            record.holder_birth = records.birth(report.holder)
            if instance.deadline:
                groups.send_group(record.pid, signal.SIGTERM)
        instance.before = None
        if instance.streams:
            instance.streams.watch()
        self._tell(instance.started, record)
        self.push({"seen": record.seen()})
        if instance.status is not None:
            self._end(instance, *outcome(instance.status))

    def _refuse(self, instance: Instance, why: str) -> None:
        """As if it had never been asked for."""
        name = instance.record.instance
        if instance.streams:
            instance.streams.close()
        self.children.ended.pop(instance.record.pid, None)
        if instance.record.holder:
            instance.record.holder_birth = records.birth(instance.record.holder)
            self.kill(instance.record)
        self._sweep(instance.record)
        if instance.before:
            self.known[name] = Instance(instance.before)
            self._save(instance.before)
        else:
            del self.known[name]
            self._discard(name)
        for answer in instance.started:
            answer({"refused": why})
        self._tell(instance.ended, instance.before)

    # -- an end ---------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Collect every child that ended: workloads, commands, and orphans of either."""
        self.children.reap()
        self.dying = {path for path in self.dying if not groups.drop(path)}

    def _reaped(self, instance: Instance, status: int) -> None:
        if instance.record.state == records.STARTING:
            instance.status = status
        else:
            self._end(instance, *outcome(status))

    def _end(self, instance: Instance, code: int | None, message: str) -> None:
        record = instance.record
        message = cgroups.why(record.limits, code, [record.cgroup, *record.joins]) or message
        self.kill(record)
        for end in list(instance.commands):
            end()
        if instance.streams:
            instance.streams.drain()
        record.state, record.exit_code, record.message = EXITED, code, message
        record.ended_at = records.now()
        self._save(record)
        self.push({"seen": record.seen()})
        self._tell(instance.ended, record)
        self._loop.later(AFTER, lambda: instance.streams.close() if instance.streams else None)

    def _overdue(self, instance: Instance, deadline: float) -> None:
        if instance.alive and instance.deadline == deadline:
            self.kill(instance.record)

    def kill(self, record: Record) -> None:
        """SIGKILL to everything that belongs to this attempt; nothing of another boot is there any more."""
        if record.boot != records.boot():
            self._sweep(record)
            return
        if record.cgroup:
            groups.kill(record.cgroup)
            self._sweep(record)
            return
        if record.holder and records.birth(record.holder) == record.holder_birth:
            groups.send(record.holder, signal.SIGKILL)
        for path in record.joins:
            groups.kill(path)
        self._sweep(record)
        name = record.instance
        main = record.pid if self._is_own(record) else 0
        groups.kill_found(main, name, self.folder(name), self._mains(main))

    def _is_own(self, record: Record) -> bool:
        """Nobody else has the pid by now. One that was not recorded with its birth is a child of ours."""
        born = records.birth(record.pid)
        return not born or (born <= record.birth if record.birth else self._is_child(record.pid))

    def _mains(self, but: int) -> set[int]:
        alive = {instance.record.pid for instance in self.known.values() if instance.alive}
        return (alive | set(self.children.ended)) - {but}

    # -- after a crash of the keeper ------------------------------------------------------------------

    def adopt(self) -> None:
        """Take over what runs, and find out what ended while nobody watched."""
        for name in os.listdir(self._folder):
            record = records.load(self.folder(name))
            if record is None:
                self._discard(name)
                continue
            instance = self.known[name] = Instance(record)
            if record.state != EXITED:
                self._adopt(instance)
        self._strangers()

    def _adopt(self, instance: Instance) -> None:
        record = instance.record
        mine = bool(record.pid) and self._is_child(record.pid)
        if not mine and not records.lives(record):
            self._missed(instance)
            return
        record.state = RUNNING
        instance.streams = self._streams(self.folder(record.instance))
        instance.streams.watch()
        if mine:
            self.children.ended[record.pid] = lambda status: self._reaped(instance, status)
        else:
            self._watch_pid(instance)

    def _is_child(self, pid: int) -> bool:
        """A keeper that has replaced itself (`upgrade`) still is the parent and learns exit codes."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _watch_pid(self, instance: Instance) -> None:
        try:
            instance.pidfd = os.pidfd_open(instance.record.pid)
        except ProcessLookupError:
            self._missed(instance)
            return
        self._loop.add(instance.pidfd, select.EPOLLIN, lambda _: self._adopted_ended(instance))
        if not records.lives(instance.record):
            self._adopted_ended(instance)

    def _adopted_ended(self, instance: Instance) -> None:
        self._loop.drop(instance.pidfd)
        os.close(instance.pidfd)
        self._end(instance, None, "it ended; the exit code went to a keeper that has crashed")

    def _missed(self, instance: Instance) -> None:
        record = instance.record
        why = "it ended while no keeper was watching"
        if record.boot != records.boot():
            why = "the machine was restarted"
        elif not record.pid:
            why = "the keeper crashed before it was started"
        instance.streams = None
        self._end(instance, None, why)

    def _strangers(self) -> None:
        """Kill what is left in cgroups of ours that no living attempt has, and commands of lost sessions."""
        records_ = [instance.record for instance in self.known.values() if instance.alive]
        living = {path for record in records_ for path in (record.cgroup, *record.joins) if path}
        for cgroup in groups.strangers(self._tree.bases(), living):
            groups.kill(cgroup)
            self.forget(cgroup)

    def usage(self, name: str) -> Message:
        """What an instance that runs has used; `seen` alone for one that does not."""
        instance = self.known.get(name)
        if not instance or instance.record.state != RUNNING:
            return {"seen": instance.record.seen() if instance else None}
        record = instance.record
        used = cgroups.usage(record.cgroup, record.joins)
        return {"usage": {**used, "memory_limit": record.limits.get("memory", 0)}}

    # -- small things ---------------------------------------------------------------------------------

    def folder(self, name: str) -> str:
        """Where everything of an instance is."""
        return f"{self._folder}/{name}"

    def starting(self) -> bool:
        """Whether anything is between its request and its exec."""
        return any(instance.record.state == records.STARTING for instance in self.known.values())

    def _streams(self, folder: str) -> streams.Streams:
        journal = Journal(f"{folder}/log", self.limits, self._stamps)
        return streams.Streams(folder, journal, self._loop.paced)

    def _save(self, record: Record) -> None:
        try:
            record.save(self.folder(record.instance))
        except OSError as error:
            records.note(f"state of {record.instance} not written: {error}")

    def _discard(self, name: str) -> None:
        try:
            os.rename(self.folder(name), f"{self._trash}/{name}:{time.time_ns()}")
        except FileNotFoundError:
            return
        except OSError as error:
            records.note(f"folder of {name} not moved to the trash: {error}")

    def _sweep(self, record: Record) -> None:
        for path in (record.cgroup, *record.joins):
            self.forget(path)

    def forget(self, cgroup: str) -> None:
        """Remove a cgroup now, or when the last process in it has been reaped."""
        if cgroup and not groups.drop(cgroup):
            self.dying.add(cgroup)

    def _tell(self, answers: list[Answer], record: Record | None) -> None:
        waiting, answers[:] = list(answers), []
        for answer in waiting:
            answer({"seen": record.seen() if record else None})
