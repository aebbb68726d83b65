"""How a change of a service is written down: the service, and a template where its copies change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from rune.api.orchestrator.services import Service, ServiceMetadata, ServiceStatus
from rune.core.call import Call
from rune.core.crud import change, put
from rune.core.store.base import Put, Store, Write
from rune.errors import FailedPrecondition, NotFound
from rune.orchestrator import autoscale
from rune.orchestrator.copies import templates_of
from rune.orchestrator.dependents import Ref
from rune.orchestrator.same import is_same_template
from rune.orchestrator.spec import SPEC, Template, template_name

Decide = Callable[[Service], Sequence[Write]]
SCALE: Final = "scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a template comes about."""

    again: bool = False
    """Even when it says nothing new: every copy is replaced."""
    recreate: bool = False
    automatic: bool = False
    note: str = ""
    undoes: int = 0
    """The generation of the service that is given up; 0 gives none up."""


PLAIN: Final = Manner()


def get_service(store: Store, ref: Ref) -> Service:
    """The service; raises NotFound."""
    service = store.find(Service, *ref)
    if service is None:
        raise missing(*ref)
    return service


def missing(namespace: str, name: str) -> NotFound:
    """There is no such service."""
    return NotFound(f"service not found: {namespace}/{name}")


async def change_service(store: Store, ref: Ref, decide: Decide, *, call: Call, revision: int = 0) -> Service:
    """Decide and write until nobody came between; raises FailedPrecondition for one that is being deleted."""

    def guarded(found: Service) -> Sequence[Write]:
        if found.deletion_id:
            raise FailedPrecondition(f"service {ref[0]}/{ref[1]} is being deleted ({found.deletion_id})")
        return decide(found)

    return await change(
        store,
        lambda: get_service(store, ref),
        guarded,
        revision=revision,
        operation=call.operation.permission,
    )


def respecified(
    store: Store, found: Service, spec: Service, *, now: datetime, manner: Manner = PLAIN
) -> list[Write]:
    """The writes of a changed spec; the caller has made sure that there is a change."""
    metadata = found.metadata or ServiceMetadata()
    renewed = manner.again or not is_same_template(found, spec)
    generation = metadata.template_generation + (1 if renewed else 0)
    told = msgspec.structs.replace(
        metadata,
        generation=metadata.generation + 1,
        template_generation=generation,
        updated_at=now,
        last_non_zero_scale=spec.scale or metadata.last_non_zero_scale,
        rolled_back_generation=manner.undoes or metadata.rolled_back_generation,
    )
    taken = {name: getattr(spec, name) for name in SPEC}
    scaling = found.scaling if spec.scale == found.scale else None
    reason = "RollingBack" if manner.automatic else ""
    service = put(
        found,
        **taken,
        metadata=told,
        status=ServiceStatus.UPDATING,
        status_reason=reason,
        status_message=manner.note if manner.automatic else "",
        scaling=scaling,
        autoscaling=found.autoscaling if autoscale.wish(spec) else None,
    )
    if renewed:
        made = _template(store, spec, generation, now=now, manner=manner)
        return [service, Put(msgspec.structs.replace(made, of_generation=told.generation))]
    kept = _current(store, found)
    return [service] if kept is None else [service, put(kept, spec=_as_template(spec))]


def first_template(spec: Service, generation: int, *, now: datetime) -> Template:
    """The template that a new service begins with."""
    return Template(
        name=template_name(spec.name, generation),
        namespace=spec.namespace,
        generation=generation,
        spec=_as_template(spec),
        created_at=now,
        of_generation=1,
    )


def _template(store: Store, spec: Service, generation: int, *, now: datetime, manner: Manner) -> Template:
    alike = 0 if manner.again else _said_before(store, spec)
    made = first_template(spec, generation, now=now)
    return msgspec.structs.replace(
        made, recreate=manner.recreate, automatic=manner.automatic, note=manner.note, alike=alike
    )


def _said_before(store: Store, spec: Service) -> int:
    """The lineage of the newest kept template that says the same; 0 when none does."""
    for kept in reversed(templates_of(store, spec.namespace, spec.name)):
        if is_same_template(kept.spec, spec):
            return kept.lineage
    return 0


def _current(store: Store, service: Service) -> Template | None:
    generation = service.metadata.template_generation if service.metadata else 0
    return store.find(Template, service.namespace, template_name(service.name, generation))


def _as_template(spec: Service) -> Service:
    return Service(name=spec.name, namespace=spec.namespace, **{name: getattr(spec, name) for name in SPEC})
