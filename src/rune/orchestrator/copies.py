"""The copies of a service in the store: how they are named, found and made."""

from __future__ import annotations

from collections.abc import Sequence

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceMetadata, InstanceStatus
from rune.api.orchestrator.services import Service
from rune.core.clock import Clock
from rune.core.store.base import Store
from rune.orchestrator.plan import template_generation
from rune.orchestrator.spec import Template, template_name


def copies_of(store: Store, namespace: str, service: str) -> list[Instance]:
    """Every copy of a service, by id; also those that are being ended."""
    near = store.near(Instance, namespace, f"{service}-instance-")
    return [item for item in near if item.service_name == service]


def template_of(store: Store, instance: Instance) -> Template | None:
    """What the copy was made from."""
    generation = instance.metadata.generation if instance.metadata else 0
    return store.find(Template, instance.namespace, template_name(instance.service_name, generation))


def templates_of(store: Store, namespace: str, service: str) -> Sequence[Template]:
    """The kept templates of a service, oldest first."""
    near = store.near(Template, namespace, f"{service}.")
    return [item for item in near if item.spec.name == service]


def new_copy(service: Service, *, clock: Clock, node: str) -> Instance:
    """A copy of the newest template that is to run."""
    now = clock.now()
    name = f"{service.name}-instance-{clock.new_id()[:8]}"
    return Instance(
        id=name,
        name=name,
        namespace=service.namespace,
        runner=service.runtime or "process",
        service_id=service.id,
        service_name=service.name,
        node_id=node,
        status=InstanceStatus.PENDING,
        desired=DesiredState.RUNNING,
        labels=service.labels,
        created_at=now,
        updated_at=now,
        metadata=InstanceMetadata(generation=template_generation(service)),
    )
