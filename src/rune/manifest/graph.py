"""Who waits for whom: the dependencies of services as a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rune.api.orchestrator.services import Service

Key = tuple[str, str]
"""Namespace and name."""


def key(service: Service) -> Key:
    """Where the service is."""
    return service.namespace or "default", service.name


def needs(service: Service) -> list[Key]:
    """The services it waits for."""
    home = service.namespace or "default"
    return [(needed.namespace or home, needed.service) for needed in service.dependencies if needed.service]


def graph(services: Iterable[Service]) -> dict[Key, list[Key]]:
    """Every service and what it waits for."""
    return {key(service): needs(service) for service in services}


def cycles(services: Iterable[Service]) -> list[list[Key]]:
    """Every circle once, from its first name on."""
    edges = graph(services)
    found: dict[frozenset[Key], list[Key]] = {}
    done: set[Key] = set()
    for start in edges:
        for circle in _circles_from(start, edges, done):
            found.setdefault(frozenset(circle), _turned(circle))
    return list(found.values())


def _circles_from(start: Key, edges: Mapping[Key, list[Key]], done: set[Key]) -> Iterable[list[Key]]:
    """Depth first, without recursion: a file may chain thousands."""
    way: list[Key] = []
    on_way: set[Key] = set()
    waiting: list[tuple[Key, bool]] = [(start, False)]
    while waiting:
        node, leaving = waiting.pop()
        if leaving:
            way.pop()
            on_way.discard(node)
            done.add(node)
        elif node in on_way:
            yield way[way.index(node) :]
        elif node not in done and node in edges:
            way.append(node)
            on_way.add(node)
            waiting.append((node, True))
            waiting += [(needed, False) for needed in reversed(edges[node])]


def _turned(circle: list[Key]) -> list[Key]:
    first = circle.index(min(circle))
    return circle[first:] + circle[:first]


def dependents(services: Iterable[Service], of: Key, *, is_deep: bool = False) -> list[Key]:
    """The services that wait for this one; deep: also those that wait for these, and so on."""
    edges = graph(services)
    found: set[Key] = set()
    waiting = [of]
    while waiting:
        wanted = waiting.pop()
        near = {home for home, needed in edges.items() if wanted in needed} - found
        found |= near
        waiting += near if is_deep else ()
    return sorted(found)
