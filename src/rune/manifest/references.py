"""What resources say about each other, as far as the same files can tell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rune.api import envrefs
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ReadyWhen
from rune.manifest.documents import Item
from rune.manifest.graph import cycles
from rune.positions.spots import Problem

Known = dict[tuple[str, str, str], Item]
"""Every resource of the files by kind, namespace and name."""


class Reference(NamedTuple):
    """One resource names another one."""

    kind: str
    namespace: str
    name: str
    path: str
    keys: tuple[tuple[str, str], ...] = ()
    """Keys that are asked of it, with the path of each."""
    is_optional: bool = False


def doubled(items: Sequence[Item]) -> Iterator[Problem]:
    """Names that are declared twice."""
    seen: Known = {}
    for item in items:
        first = seen.setdefault(_key(item), item)
        if first is not item:
            yield item.problem("name", f"is declared twice, first at {first.spot}")


def circles(items: Iterable[Item]) -> Iterator[Problem]:
    """Services that wait for themselves."""
    services = {_key(item)[1:]: item for item in items if item.kind == "service"}
    for cycle in cycles([item.model for item in services.values()]):
        way = " → ".join(name for _, name in (*cycle, cycle[0]))
        yield services[cycle[0]].problem("dependencies", f"depends on itself: {way}")


def strangers(items: Sequence[Item]) -> Iterator[Problem]:
    """Names that stand in no file. A secret usually does not, so only a name that is almost one is told."""
    known = {_key(item): item for item in items}
    names: dict[tuple[str, str], list[str]] = {}
    for kind, namespace, name in known:
        names.setdefault((kind, namespace), []).append(name)
    for item in items:
        for ref in references(item):
            there = known.get((ref.kind, ref.namespace, ref.name))
            if there:
                yield from _keys(item, ref, there)
                continue
            near = difflib.get_close_matches(
                ref.name, names.get((ref.kind, ref.namespace), []), n=1, cutoff=0.75
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            if near or (ref.kind != "secret" and not ref.is_optional):
                yield item.problem(ref.path, f"there is no {ref.kind} {ref.name!r} in these files{hint}")


def _keys(item: Item, ref: Reference, there: Item) -> Iterator[Problem]:
    for key, path in ref.keys:
        if key not in there.model.data:
            near = difflib.get_close_matches(key, list(there.model.data), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield item.problem(path, f"{there.label} has no key {key!r}{hint}")


def references(item: Item) -> Iterator[Reference]:
    """Everything the resource names."""
    service = item.model
    if not isinstance(service, Service):
        return
    home = service.namespace or "default"
    for number, needed in enumerate(service.dependencies):
        said = [
            (kind, name) for kind in ("service", "secret", "configmap") if (name := getattr(needed, kind))
        ]
        if len(said) == 1:  # otherwise it is refused anyway
            (kind, name), path = said[0], f"dependencies[{number}]"
            yield Reference(kind, needed.namespace or home, name, path, is_optional=needed.optional)
    for number, source in enumerate(service.env_from):
        for kind in ("secret", "configmap"):
            name = getattr(source, f"{kind}_name")
            if name:
                yield Reference(kind, source.namespace or home, name, f"env_from[{number}]")
    for variable, ref in envrefs.references(service.env, home):
        path = f"env.{variable}"
        yield Reference(ref.kind, home, ref.name, path, ((ref.key, path),))
    if service.expose and service.expose.tls:
        path = "expose.tls.secret"
        keys = (("tls.crt", path), ("tls.key", path))
        yield Reference("secret", home, service.expose.tls.secret, path, keys)
    for kind in ("secret", "configmap"):
        yield from _mounted(service, kind, home)


def _mounted(service: Service, kind: str, home: str) -> Iterator[Reference]:
    mounts: list[Any] = getattr(service, f"{kind}_mounts")
    for number, mount in enumerate(mounts):
        path = f"{kind}_mounts[{number}]"
        keys = tuple((one.key, f"{path}.items[{at}].key") for at, one in enumerate(mount.items))
        yield Reference(kind, home, getattr(mount, f"{kind}_name"), path, keys)


def waits_for_ever(items: Sequence[Item]) -> Iterator[Problem]:
    """Dependencies that no copy can ever meet."""
    services = {_key(item)[1:]: item.model for item in items if item.kind == "service"}
    for item in items:
        if item.kind != "service":
            continue
        for number, needed in enumerate(item.model.dependencies):
            home = item.model.namespace or "default"
            there = services.get((needed.namespace or home, needed.service))
            if there is None or there.scale or needed.optional or needed.timeout_seconds:
                continue
            state = "started" if needed.ready_when is ReadyWhen.STARTED else "ready"
            yield item.problem(
                f"dependencies[{number}]",
                f"waits for ever: {needed.service!r} has a scale of 0, so no copy of it is {state}",
            )


def _key(item: Item) -> tuple[str, str, str]:
    return item.kind, getattr(item.model, "namespace", "") or "default", item.model.name
