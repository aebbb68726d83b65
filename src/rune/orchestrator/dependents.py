"""Who depends on whom: kept up to date from the log, so that nobody has to look through every service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rune.api.orchestrator.services import Service
from rune.core.store.base import Store
from rune.orchestrator.spec import depends_on

Ref = tuple[str, str]
"""Namespace and name of a service."""


class Dependents:
    """The services that depend on each service."""

    def __init__(self) -> None:
        self._users: defaultdict[Ref, set[Ref]] = defaultdict(set)

    def saw(self, before: Service | None, after: Service | None) -> None:
        """A service changed from one to the other; None is absent."""
        if before is not None:
            for target in depends_on(before):
                self._users[target].discard((before.namespace, before.name))
                if not self._users[target]:
                    del self._users[target]
        if after is not None:
            for target in depends_on(after):
                self._users[target].add((after.namespace, after.name))

    def of(self, namespace: str, name: str) -> frozenset[Ref]:
        """The services that depend on this one."""
        return frozenset(self._users.get((namespace, name), ()))

    def edges_with(self, store: Store, spec: Service) -> dict[Ref, Sequence[Ref]]:
        """What each service that can be reached from a spec depends on, the spec's own wishes first."""
        edges: dict[Ref, Sequence[Ref]] = {(spec.namespace, spec.name): depends_on(spec)}
        ahead = list(edges[spec.namespace, spec.name])
        while ahead:
            ref = ahead.pop()
            if ref in edges:
                continue
            service = store.find(Service, *ref)
            edges[ref] = depends_on(service) if service else ()
            ahead += edges[ref]
        return edges
