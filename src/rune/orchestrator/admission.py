"""Whether a spec that is well-formed may run on this server, and may be asked for by this caller."""

from __future__ import annotations

from collections.abc import Collection

from rune.api.orchestrator.services import Service
from rune.core.access import PRIVILEGED, Principal
from rune.errors import FailedPrecondition, PermissionDenied
from rune.orchestrator import images


class Admission:
    """The rules of one server; `runtimes` are the runners that it has switched on."""

    def __init__(self, runtimes: Collection[str] = ("process", "docker")) -> None:
        self._runtimes = frozenset(runtimes)

    def admit(self, principal: Principal, spec: Service) -> None:
        """Raises FailedPrecondition for a runner that is off, PermissionDenied for powers not granted."""
        if spec.runtime not in self._runtimes:
            raise FailedPrecondition(
                f"services with runtime {spec.runtime} are switched off on this server:"
                f" set runner.{spec.runtime}.enabled in its Runefile"
            )
        power = images.powers(spec)
        if power and not principal.may("services", PRIVILEGED, spec.namespace):
            raise PermissionDenied(f"service.{power} takes the permission services:{PRIVILEGED}")
