"""Mounts: what a copy gets of secrets and configmaps, as variables at its start and as files that stay true.

The values are looked up when a runner is about to need them. They are in no template, no instance and no
message of the API; they pass from the vault to the runner and are forgotten here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from rune.api.envrefs import Reference, references, resolved
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ConfigmapMount, SecretMount
from rune.errors import FailedPrecondition
from rune.orchestrator.mountpaths import VARIABLE
from rune.orchestrator.runners.base import Files, Workload
from rune.orchestrator.safe import Safe
from rune.orchestrator.uses import CONFIGMAP, SECRET, Use, needed, source_of

NAMED = 5
"""Keys that a note names; the rest are counted."""


class Missing(FailedPrecondition):
    """A secret or configmap that a copy needs is not there."""

    @property
    def reason(self) -> str:
        """Why it failed, as instances say it."""
        return "SecretNotFound" if self.message.startswith(SECRET) else "ConfigmapNotFound"


class Supplied(msgspec.Struct, frozen=True):
    """A workload with everything it was promised, and what could not be given to it."""

    workload: Workload
    notes: Sequence[str] = ()


class Supplies(Protocol):
    """What copies get besides what their spec says itself."""

    def missing(self, spec: Service) -> str:
        """The first thing that a copy needs and that is not there, in words; empty when all is."""
        ...

    def has(self, use: Use) -> bool:
        """It is there."""
        ...

    def stamp(self, spec: Service) -> tuple[int, ...]:
        """Changes when what is mounted changed; empty for a spec that mounts nothing."""
        ...

    async def supply(self, workload: Workload, spec: Service) -> Supplied:
        """The workload with its variables and files; raises Missing while something is not there."""
        ...


class Nothing:
    """Supplies of a server that keeps no secrets: whoever needs some waits."""

    def missing(self, spec: Service) -> str:
        """Everything is."""
        return next((f"{use} does not exist" for use in needed(spec)), "")

    def has(self, use: Use) -> bool:
        """Nothing is."""
        return False

    def stamp(self, spec: Service) -> tuple[int, ...]:
        """Always the same."""
        return ()

    async def supply(self, workload: Workload, spec: Service) -> Supplied:
        """The workload as it is, if it needs nothing."""
        lacking = self.missing(spec)
        if lacking:
            raise Missing(lacking)
        return Supplied(workload)


NOTHING: Final = Nothing()


class Mounts:
    """Hands out values, to runners alone."""

    def __init__(self, safe: Safe) -> None:
        self._safe = safe

    def missing(self, spec: Service) -> str:
        """The first thing that a copy needs and that is not there, in words; empty when all is."""
        absent = (use for use in needed(spec) if not self.has(use))
        return next((f"{use} does not exist" for use in absent), "")

    def has(self, use: Use) -> bool:
        """It is there."""
        kind = {SECRET: self._safe.find, CONFIGMAP: self._configmap}[use.kind]
        return kind(use.namespace, use.name) is not None

    def stamp(self, spec: Service) -> tuple[int, ...]:
        """Changes when what is mounted changed; empty for a spec that mounts nothing."""
        return tuple(self._version(use) for use, _ in _mounted(spec))

    async def supply(self, workload: Workload, spec: Service) -> Supplied:
        """The workload with its variables and files; raises Missing while something is not there."""
        lacking = self.missing(spec)
        if lacking:
            raise Missing(lacking)
        notes: list[str] = []
        env = {**self._variables(spec, notes), **workload.env, **self._own(workload, spec)}
        files = [self._files(use, mount) for use, mount in _mounted(spec)]
        return Supplied(msgspec.structs.replace(workload, env=env, files=files), notes)

    def _variables(self, spec: Service, notes: list[str]) -> dict[str, str]:
        """Later sources win over earlier ones."""
        env: dict[str, str] = {}
        for source in spec.env_from:
            use = source_of(source, spec.namespace)
            given = {source.prefix + key: value for key, value in self._values(use).items()}
            unfit = sorted(name for name, value in given.items() if not _fits(name, value))
            env.update({name: value for name, value in given.items() if name not in unfit})
            if unfit:
                named = ", ".join(unfit[:NAMED]) + (
                    f" and {len(unfit) - NAMED} more" if unfit[NAMED:] else ""
                )
                notes.append(f"{use}: left out of the environment, since they cannot be variables: {named}")
        return env

    def _own(self, workload: Workload, spec: Service) -> dict[str, str]:
        """The spec's own variables that name a key of something, with its value in place of the reference."""
        home = spec.namespace
        named = {name for name, _ in references(spec.env, home)}
        asked = {name: spec.env[name] for name in named if workload.env.get(name) == spec.env[name]}

        def value(variable: str, ref: Reference) -> str:
            use = Use(ref.kind, home, ref.name)
            found = self._values(use).get(ref.key)
            if found is None:
                raise Missing(f"{use} has no key {ref.key!r}, which env.{variable} names")
            if "\0" in found:
                raise Missing(f"{use} has a NUL in key {ref.key!r}, so env.{variable} cannot hold it")
            return found

        return resolved(asked, home, value)

    def _files(self, use: Use, mount: SecretMount | ConfigmapMount) -> Files:
        values = self._values(use)
        items = {item.path: item.key for item in mount.items} or {key: key for key in values}
        absent = [key for key in items.values() if key not in values]
        if absent:
            raise Missing(f"{use} has no key {absent[0]!r}, which is to be mounted at {mount.mount_path}")
        content = {path: values[key].encode() for path, key in items.items()}
        return Files(target=mount.mount_path, content=content, is_secret=use.kind == SECRET)

    def _values(self, use: Use) -> Mapping[str, str]:
        if use.kind == SECRET:
            return self._safe.values(self._safe.get(use.namespace, use.name))
        return self._safe.store.get(Configmap, use.namespace, use.name).data

    def _version(self, use: Use) -> int:
        """Its version is not enough: what was deleted and made again begins at 1."""
        kind = {SECRET: self._safe.find, CONFIGMAP: self._configmap}[use.kind]
        found = kind(use.namespace, use.name)
        return found.revision if found else 0

    def _configmap(self, namespace: str, name: str) -> Configmap | None:
        return self._safe.store.find(Configmap, namespace, name)


def _mounted(spec: Service) -> Iterator[tuple[Use, SecretMount | ConfigmapMount]]:
    for secret in spec.secret_mounts:
        yield Use(SECRET, spec.namespace, secret.secret_name), secret
    for configmap in spec.configmap_mounts:
        yield Use(CONFIGMAP, spec.namespace, configmap.configmap_name), configmap


def _fits(name: str, value: str) -> bool:
    return VARIABLE.fullmatch(name) is not None and "\0" not in value
