"""Sealing: the vault of a server, put together over its store, and the operation that rotates its KEK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rune.api.orchestrator import keys as api
from rune.api.resource import Resource
from rune.core import keyring
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.runefile import Settings
from rune.core.store.base import Store
from rune.core.vault import KeyRecord, Rotation, SealedResource, Vault
from rune.orchestrator.mounts import Mounts
from rune.orchestrator.registries import KeptRegistry, Registries
from rune.orchestrator.safe import KeptSecret, Safe, SecretVersion
from rune.orchestrator.secrets import Secrets
from rune.orchestrator.traffic.certificates import Certificates
from rune.orchestrator.uses import used_by

SEALED: Final[Sequence[type[SealedResource]]] = (SecretVersion, KeptRegistry)
"""What this plane seals."""
KINDS: Final[Sequence[type[Resource]]] = (KeptSecret, KeyRecord, *SEALED)
"""What a store that keeps secrets may hold besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """The handlers, and what reconcilers and runners ask for values."""

    secrets: Secrets
    registries: Registries
    keys: Keys
    mounts: Mounts
    vault: Vault
    certificates: Certificates

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for handlers in (self.secrets, self.registries, self.keys):
            handlers.register(dispatcher)


class Keys:
    """What can be done with the KEK."""

    def __init__(self, rotation: Rotation, ring: keyring.Keyring) -> None:
        self._rotation = rotation
        self._keyring = ring

    def register(self, dispatcher: Dispatcher) -> None:
        """Make this the handler of the operation."""
        dispatcher.handles(api.rotate)(self.rotate)

    async def rotate(self, call: Call, ask: api.RotateKekRequest) -> api.RotateKekResponse:
        """Answered when everything is sealed with the new key and the old one is forgotten."""
        kek, count = await self._rotation.rotate()
        older = [key.id for key in self._keyring.keys[1:]]
        return api.RotateKekResponse(kek_id=kek, rewrapped=count, older_ids=older)


async def unlock(
    store: Store,
    chosen: Settings,
    environ: Mapping[str, str],
    *,
    sealed: Sequence[type[SealedResource]] = SEALED,
    clock: Clock,
) -> Sealing:
    """Find the KEK, see that it opens all that is `sealed`, and finish what a crash left of a rotation.

    Raises FailedPrecondition with the remedy when the key is missing, is another one or is open to others.
    """
    is_new = not any(store.list(kind) for kind in sealed)
    found = keyring.find(chosen.crypto.kek, chosen.server.data_dir, environ, is_new=is_new)
    vault = Vault(found)
    rotation = Rotation(store, vault, sealed, clock=clock)
    await rotation.check()
    safe = Safe(store, vault)
    registries = Registries(safe, chosen.registries, environ, clock=clock)
    secrets = Secrets(
        safe, clock=clock, limits=chosen.storage.secret_limits, used_by=(used_by, registries.users_of)
    )
    return Sealing(
        secrets=secrets,
        registries=registries,
        keys=Keys(rotation, found),
        mounts=Mounts(safe),
        vault=vault,
        certificates=Certificates(safe),
    )
