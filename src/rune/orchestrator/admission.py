"""Whether a spec that is well-formed may run on this server, and may be asked for by this caller."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from rune.api.orchestrator.services import Service
from rune.core.access import PRIVILEGED, Principal
from rune.errors import FailedPrecondition, PermissionDenied
from rune.orchestrator import images
from rune.orchestrator.runners.base import Workload
from rune.orchestrator.workloads import sketch


class Admits(Protocol):
    """A runner that knows what its machine can do."""

    async def admit(self, workload: Workload) -> object:
        """Raises FailedPrecondition for what cannot be had."""
        ...


class Admission:
    """The rules of one server; `runtimes` are the runners that it has switched on."""

    def __init__(
        self, runtimes: Collection[str] = ("process", "docker"), *, processes: Admits | None = None
    ) -> None:
        self._runtimes = frozenset(runtimes)
        self._processes = processes

    async def admit(self, principal: Principal, spec: Service) -> None:
        """Raises PermissionDenied for powers not granted, FailedPrecondition for what this server cannot do.

        Said when a service is cast, not when a copy starts.
        """
        if spec.runtime not in self._runtimes:
            raise FailedPrecondition(
                f"services with runtime {spec.runtime} are switched off on this server:"
                f" set runner.{spec.runtime}.enabled in its Runefile"
            )
        power = images.powers(spec)
        if power and not principal.may("services", PRIVILEGED, spec.namespace):
            raise PermissionDenied(f"service.{power} takes the permission services:{PRIVILEGED}")
        if spec.agent and not principal.may("agents", "create"):
            raise PermissionDenied("service.agent takes the permission agents:create")
        if self._processes and spec.process is not None:
            await self._processes.admit(sketch(spec))
