"""What is wrong with the secrets and configmaps a spec asks for, before anybody looks whether they exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import PurePosixPath
from typing import Final

from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ConfigmapMount, EnvFromSource, KeyToPath, SecretMount
from rune.errors import Violation

VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
MOST: Final = 64
"""Mounts of one service, and sources of variables."""

Mounts = Sequence[SecretMount] | Sequence[ConfigmapMount]


def has_own_files(spec: Service) -> bool:
    """Its copies have a file system of their own, where any path can be a mount."""
    return bool(spec.image)


def violations(spec: Service) -> Iterator[Violation]:
    """Everything, by field."""
    if len(spec.env_from) > MOST:
        yield Violation("env_from", f"has {len(spec.env_from)} entries; {MOST} are the most")
    for number, source in enumerate(spec.env_from):
        yield from _source(f"env_from[{number}]", source, spec.namespace)
    if len(spec.secret_mounts) + len(spec.configmap_mounts) > MOST:
        yield Violation("secret_mounts", f"and configmap_mounts: {MOST} in all are the most")
    own = has_own_files(spec)
    for field, mounts in (("secret_mounts", spec.secret_mounts), ("configmap_mounts", spec.configmap_mounts)):
        for number, mount in enumerate(mounts):
            where = f"{field}[{number}]"
            yield from _path(f"{where}.mount_path", mount.mount_path, is_absolute=own)
            yield from _items(f"{where}.items", mount.items)
    paths = [mount.mount_path for mount in (*spec.secret_mounts, *spec.configmap_mounts)]
    for one, other in combinations(map(PurePosixPath, paths), 2):
        if one in (other, *other.parents) or other in one.parents:
            yield Violation("secret_mounts", f"the paths {one} and {other} lie within each other")


def _source(where: str, source: EnvFromSource, home: str) -> Iterator[Violation]:
    if bool(source.secret_name) == bool(source.configmap_name):
        yield Violation(where, "names exactly one of `secret_name` and `configmap_name`")
    if source.namespace not in ("", home):
        what = "must be the service's own: a service gets nothing of what other namespaces keep"
        yield Violation(f"{where}.namespace", what)
    if source.prefix and not VARIABLE.fullmatch(source.prefix):
        yield Violation(f"{where}.prefix", "must be letters, digits and `_`, with no digit first")


def _path(where: str, path: str, *, is_absolute: bool) -> Iterator[Violation]:
    shape = _shape(path.removeprefix("/"))
    if shape:
        yield Violation(where, shape)
    elif is_absolute and not path.startswith("/"):
        yield Violation(where, "must be an absolute path of the container, such as /etc/app")
    elif not is_absolute and path.startswith("/"):
        yield Violation(
            where,
            f"a process shares the machine's files, so nothing can be put at {path}: give a relative path,"
            f" such as {PurePosixPath(path).name}, and read it below the folder that RUNE_MOUNTS names",
        )


def _items(where: str, items: Sequence[KeyToPath]) -> Iterator[Violation]:
    seen: list[PurePosixPath] = []
    for number, item in enumerate(items):
        shape = "must be a relative path" if item.path.startswith("/") else _shape(item.path)
        if shape:
            yield Violation(f"{where}[{number}].path", shape)
            continue
        path = PurePosixPath(item.path)
        if any(path in (other, *other.parents) or other in path.parents for other in seen):
            yield Violation(f"{where}[{number}].path", f"{item.path} is taken by an item before it")
        seen.append(path)


def _shape(path: str) -> str:
    """What keeps it from being the path of a file in a folder; empty for one that is."""
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".") for part in parts):
        return f"{path[:100]!r} is no path of a file"
    if any(part.startswith("..") for part in parts):
        return f"{path[:100]!r} must not have a part that begins with `..`"
    return ""
