"""Whether this server can run what a spec asks for: said when it is cast, not when a copy starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from rune.api.orchestrator.services import Service
from rune.orchestrator.runners.base import Workload
from rune.orchestrator.workloads import sketch

Fits = Callable[[Service], Awaitable[None]]
"""Raises FailedPrecondition with the reason and the remedy for a service that could not run here as asked."""


class Admits(Protocol):
    """A runner that knows what its machine can do."""

    async def admit(self, workload: Workload) -> object:
        """Raises FailedPrecondition for what cannot be had."""
        ...


async def anything_fits(_: Service) -> None:
    """For servers whose runner takes everything."""


def fits_processes(runner: Admits) -> Fits:
    """Asks the runner of processes about services that are one."""

    async def fits(spec: Service) -> None:
        if spec.process is not None:
            await runner.admit(sketch(spec))

    return fits
