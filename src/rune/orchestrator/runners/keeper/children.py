"""The children of the keeper: how they begin, and who hears of their end."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from . import spawn
from .loop import Loop

Ended = Callable[[int], None]
"""Gets the wait status."""

Born = Callable[[spawn.Report, str], None]
"""Hears what a new process reported, and why it could not start; empty when it did."""


class Children:
    """Workloads and commands, by pid."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.ended: dict[int, Ended] = {}
        """What to call at the end of a child."""
        self._births = 0
        """Processes on their way to their exec."""
        self._early: dict[int, int] = {}
        """Wait statuses that came before the news of whose they are; only while something is on its way."""

    def bear(self, plan: spawn.Plan, ended: Ended, done: Born) -> int:
        """Start a process: `done` hears of its exec, `ended` of its end. Returns the pid, 0 for one that is
        known only to `done`.
        """
        report = spawn.spawn(plan)
        self._births += 1
        if report.pid:
            self.ended[report.pid] = ended

        def told(_: int) -> None:
            why = report.read()
            if why is None:
                return
            self._loop.drop(report.fd)
            os.close(report.fd)
            if plan.sandbox and report.pid:
                self._claim(report.pid, ended)
            self._births -= 1
            if not self._births:
                self._early.clear()
            done(report, why)

        self._loop.add(report.fd, select.EPOLLIN, told)
        return report.pid

    def reap(self) -> None:
        """Collect every child that ended, orphans as well."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            ended = self.ended.pop(pid, None)
            if ended:
                ended(status)
            elif self._births:
                self._early[pid] = status

    def _claim(self, pid: int, ended: Ended) -> None:
        if pid in self._early:
            ended(self._early.pop(pid))
        else:
            self.ended[pid] = ended


def outcome(status: int) -> tuple[int, str]:
    """The exit code of a wait status, 128 + signal for one that was killed, and words for it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code, ""
    return 128 - code, f"killed by {signal.Signals(-code).name}"
