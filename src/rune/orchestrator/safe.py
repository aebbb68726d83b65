"""Safe: secrets as they are stored. What is listed and what is sealed are two resources.

A `KeptSecret` has no place for a value, so nothing that reads, lists or watches can give one away; each
version has its own `SecretVersion`, sealed with a key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from rune.api.fields import NamespaceName
from rune.api.resource import Resource
from rune.core.store.base import Delete, Put, Store, Write
from rune.core.vault import Place, SealedResource, Vault
from rune.errors import NotFound

KEPT: Final = 10
"""How many versions there are of a secret, the newest included."""


class KeptSecret(Resource):
    """A secret without its values."""

    KIND: ClassVar[str] = "secret"

    name: str
    namespace: NamespaceName
    type: str = "static"
    version: int = 1
    created_at: datetime
    updated_at: datetime
    keys: list[str] = []


class SecretVersion(SealedResource):
    """The values of one version."""

    KIND: ClassVar[str] = "secret-version"

    name: str
    """`SECRET.VERSION`, so that the versions of a secret stand together."""
    namespace: NamespaceName
    secret: str
    version: int
    created_at: datetime
    keys: list[str] = []

    @property
    def place(self) -> Place:
        """Its secret and its number."""
        return Place("secret", self.namespace, self.secret, self.version)


class Safe:
    """Seals values for the store and opens them again. Whoever opens answers for where they go."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self.store = store
        self.vault = vault

    def find(self, namespace: str, name: str) -> KeptSecret | None:
        """The secret without its values, or None."""
        return self.store.find(KeptSecret, namespace, name)

    def get(self, namespace: str, name: str) -> KeptSecret:
        """The same; raises NotFound."""
        found = self.find(namespace, name)
        if found is None:
            raise NotFound(f"secret not found: {namespace}/{name}")
        return found

    def versions(self, secret: KeptSecret) -> Sequence[SecretVersion]:
        """Those that are kept, oldest first."""
        near = self.store.near(SecretVersion, secret.namespace, f"{secret.name}.")
        return [item for item in near if item.secret == secret.name]

    def values(self, secret: KeptSecret) -> dict[str, str]:
        """The values of its newest version."""
        return self.open(self.store.get(SecretVersion, secret.namespace, _name(secret.name, secret.version)))

    def open(self, version: SecretVersion) -> dict[str, str]:
        """The values of a version; raises what the vault raises."""
        return msgspec.json.decode(self.vault.open(version.sealed, version.place), type=dict[str, str])

    def first(self, namespace: str, name: str, data: Mapping[str, str], *, now: datetime) -> list[Write]:
        """The writes that make a secret."""
        made = KeptSecret(name=name, namespace=namespace, created_at=now, updated_at=now, keys=sorted(data))
        return [Put(made), Put(self._sealed(made, data, now))]

    def next(self, found: KeptSecret, data: Mapping[str, str], *, now: datetime) -> list[Write]:
        """The writes that make its next version, and forget those that are too old by then."""
        changed = msgspec.structs.replace(found, version=found.version + 1, updated_at=now, keys=sorted(data))
        old = self.versions(found)[: -(KEPT - 1)]
        return [
            Put(changed),
            Put(self._sealed(changed, data, now)),
            *(Delete(item.key) for item in old),
        ]

    def gone(self, found: KeptSecret) -> list[Write]:
        """The writes that remove it with its versions."""
        return [Delete(found.key, found.revision), *(Delete(item.key) for item in self.versions(found))]

    def _sealed(self, secret: KeptSecret, data: Mapping[str, str], now: datetime) -> SecretVersion:
        place = Place("secret", secret.namespace, secret.name, secret.version)
        return SecretVersion(
            name=_name(secret.name, secret.version),
            namespace=secret.namespace,
            secret=secret.name,
            version=secret.version,
            created_at=now,
            keys=sorted(data),
            sealed=self.vault.seal(msgspec.json.encode(data), place),
        )


def _name(secret: str, version: int) -> str:
    return f"{secret}.{version:010d}"
