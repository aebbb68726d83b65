"""Uses: which secrets and configmaps a spec names, and who names one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rune.api import envrefs
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import EnvFromSource
from rune.core.store.base import Store
from rune.orchestrator.copies import copies_of
from rune.orchestrator.spec import Template

SECRET, CONFIGMAP = "secret", "configmap"


class Use(NamedTuple):
    """One secret or configmap."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def source_of(source: EnvFromSource, home: str) -> Use:
    """What a source of variables names."""
    kind, name = (SECRET, source.secret_name) if source.secret_name else (CONFIGMAP, source.configmap_name)
    return Use(kind, source.namespace or home, name)


def needed(spec: Service) -> Iterator[Use]:
    """What a copy cannot start without."""
    home = spec.namespace
    for source in spec.env_from:
        yield source_of(source, home)
    for _, ref in envrefs.references(spec.env, home):
        yield Use(ref.kind, home, ref.name)
    for mount in spec.secret_mounts:
        yield Use(SECRET, home, mount.secret_name)
    for mount in spec.configmap_mounts:
        yield Use(CONFIGMAP, home, mount.configmap_name)


def waited_for(spec: Service) -> Iterator[Use]:
    """What its dependencies name."""
    for ref in spec.dependencies:
        for kind, name in ((SECRET, ref.secret), (CONFIGMAP, ref.configmap)):
            if name:
                yield Use(kind, ref.namespace or spec.namespace, name)


def presented(spec: Service) -> Iterator[Use]:
    """What its door shows, or asks clients for."""
    expose = spec.expose
    if expose and expose.tls:
        yield Use(SECRET, spec.namespace, expose.tls.secret)
    if expose and expose.client_cert:
        yield Use(SECRET, spec.namespace, expose.client_cert.ca_secret)


def users(store: Store, use: Use) -> Sequence[Service]:
    """The services whose spec names it."""
    return [
        each for each in store.list(Service) if use in {*needed(each), *waited_for(each), *presented(each)}
    ]


def used_by(store: Store, use: Use) -> list[str]:
    """The same, as `namespace/name`."""
    return [f"{service.namespace}/{service.name}" for service in users(store, use)]


def holders(store: Store, use: Use) -> Iterator[Instance]:
    """The copies that were made from a template which names it."""
    templates = [each for each in store.list(Template, use.namespace) if use in set(needed(each.spec))]
    for service in sorted({each.spec.name for each in templates}):
        yield from copies_of(store, use.namespace, service)
