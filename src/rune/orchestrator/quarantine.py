"""Quarantine: what it writes down about one copy, and whether a service could be put into it as it asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from rune.api.orchestrator.guard import QuarantineMode
from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import Service
from rune.core.crud import put
from rune.core.store.base import Put
from rune.errors import Violation
from rune.orchestrator.plan import CutOff, Free, Hold


def violations(spec: Service) -> Iterator[Violation]:
    """What could not be done to the copies of the service."""
    if spec.agent and spec.agent.quarantine_mode is QuarantineMode.ISOLATE and not spec.image:
        yield Violation(
            "agent.quarantine_mode",
            "isolate is for containers: a process shares the network of this machine; use stop",
        )


def carried_out(action: Hold | CutOff | Free, service: Service, *, now: datetime) -> Put:
    """The write that does it. Nobody who is held gets time to end: it could do harm with it."""
    item = action.instance
    match action:
        case Hold():
            return put(
                item,
                held=_why(service),
                grace=0,
                status=InstanceStatus.STOPPING,
                ready=False,
                ready_since=None,
                updated_at=now,
            )
        case CutOff():
            return put(item, cut_off=True, notes=[*item.notes, _why(service)], updated_at=now)
        case Free():
            return put(_freed(item), updated_at=now)


def _freed(item: Instance) -> Instance:
    """Its next attempt begins anew; one that was cut off goes on with this one."""
    if not item.held:
        return msgspec.structs.replace(item, cut_off=False, notes=[])
    return msgspec.structs.replace(
        item,
        held="",
        cut_off=False,
        grace=None,
        attempt=item.attempt + 1,
        streak=0,
        start_after=None,
        status=InstanceStatus.STARTING,
        status_message="",
        failure_reason="",
    )


def _why(service: Service) -> str:
    guard = service.guard
    if guard is None:
        return "the agent is in quarantine"
    return f"agent {guard.agent_id!r} is in quarantine: {guard.reason}"
