"""Vault: values are sealed with a key of their own (DEK), and that key with one of the keyring (KEK).

Both are AES-256-GCM, bound to the place the value belongs to: a sealed value that is moved to another name,
namespace or version does not open. A rotation of the KEK rewraps keys and never touches a value.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import ClassVar, Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rune.api.resource import Resource
from rune.core.clock import Clock
from rune.core.keyring import SIZE, Keyring
from rune.core.store.base import Put, Store
from rune.errors import Conflict, FailedPrecondition, Internal, NotFound

logger = logging.getLogger(__name__)

NONCE: Final = 12
AT_ONCE: Final = 200
"""Rewrapped keys of one commit, so that others get their turn."""
TRIES: Final = 1_000


class Place(NamedTuple):
    """What a sealed value belongs to; it opens nowhere else."""

    kind: str
    namespace: str
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name} version {self.version}"

    @property
    def bytes(self) -> bytes:
        """Unambiguous: no part can hold a NUL."""
        return "\0".join((self.kind, self.namespace, self.name, str(self.version))).encode()


class Sealed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A value that only the vault opens. Prints as `***`."""

    kek: str
    """The id of the KEK that wraps its key."""
    key: bytes
    """The wrapped DEK, its nonce first."""
    box: bytes
    """The value, its nonce first."""

    def __repr__(self) -> str:
        return "***"


class SealedResource(Resource):
    """A resource that holds a sealed value. Subclasses say what it belongs to."""

    sealed: Sealed

    @property
    def place(self) -> Place:
        """What the value is bound to."""
        raise NotImplementedError


class KeyRecord(Resource):
    """Which KEK everything is sealed with; its commit also marks the moment a rotation begins."""

    KIND: ClassVar[str] = "kek"

    name: str = "current"
    kek: str
    since: datetime


class Vault:
    """Seals and opens. Whoever stores what it sealed does both inside `writing`."""

    def __init__(self, keyring: Keyring, *, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._keyring = keyring
        self._entropy = entropy
        self._writing = asyncio.Lock()

    @property
    def keyring(self) -> Keyring:
        """The keys."""
        return self._keyring

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """No rotation begins between sealing and storing, so none overlooks what is on its way."""
        async with self._writing:
            yield

    def seal(self, value: bytes, place: Place) -> Sealed:
        """Under a new key of its own."""
        dek = self._entropy(SIZE)
        nonce = self._entropy(NONCE)
        box = nonce + AESGCM(dek).encrypt(nonce, value, place.bytes)
        return self._wrapped(dek, box, place)

    def open(self, sealed: Sealed, place: Place) -> bytes:
        """The value; raises FailedPrecondition when its KEK is not here, Internal after tampering."""
        dek = self._unwrapped(sealed, place)
        nonce, box = sealed.box[:NONCE], sealed.box[NONCE:]
        try:
            return AESGCM(dek).decrypt(nonce, box, place.bytes)
        except InvalidTag as error:
            raise _tampered(place) from error

    def rewrapped(self, sealed: Sealed, place: Place) -> Sealed:
        """The same box, its key under the first KEK."""
        return self._wrapped(self._unwrapped(sealed, place), sealed.box, place)

    def is_current(self, sealed: Sealed) -> bool:
        """It is wrapped by the first KEK."""
        return sealed.kek == self._keyring.keys[0].id

    def _wrapped(self, dek: bytes, box: bytes, place: Place) -> Sealed:
        kek = self._keyring.keys[0]
        nonce = self._entropy(NONCE)
        key = nonce + kek.cipher.encrypt(nonce, dek, _for_key(place))
        return Sealed(kek=kek.id, key=key, box=box)

    def _unwrapped(self, sealed: Sealed, place: Place) -> bytes:
        kek = next((each for each in self._keyring.keys if each.id == sealed.kek), None)
        if kek is None:
            raise FailedPrecondition(
                f"{place} is sealed with KEK {sealed.kek}, which is not in {self._keyring.place}"
            )
        try:
            return kek.cipher.decrypt(sealed.key[:NONCE], sealed.key[NONCE:], _for_key(place))
        except InvalidTag as error:
            raise _tampered(place) from error


def _for_key(place: Place) -> bytes:
    return place.bytes + b"\0dek"


def _tampered(place: Place) -> Internal:
    return Internal(f"{place} does not open: what is stored is not what was sealed there")


class Rotation:
    """Moves everything that is sealed from older KEKs to the first one.

    Until the last key is rewrapped the keyring has all of the KEKs, so a crash at any moment loses nothing:
    the next start, or the next rotation, goes on.
    """

    def __init__(
        self, store: Store, vault: Vault, kinds: Sequence[type[SealedResource]], *, clock: Clock
    ) -> None:
        self._store = store
        self._vault = vault
        self._kinds = kinds
        self._clock = clock

    async def check(self) -> None:
        """Raise FailedPrecondition when something is sealed with a KEK that is not there; else finish what a
        crash left undone.
        """
        keyring = self._vault.keyring
        known = {key.id for key in keyring.keys}
        lost = sorted({item.sealed.kek for item in self._sealed()} - known)
        if lost:
            count = sum(item.sealed.kek in lost for item in self._sealed())
            raise FailedPrecondition(
                f"{count} values are sealed with KEK {', '.join(lost)}, which is not in {keyring.place}:"
                " add that key there on a line of its own"
            )
        if len(keyring.keys) > 1:
            logger.info("a rotation of the KEK goes on", extra={"kek_id": keyring.keys[0].id})
            async with self._vault.writing():
                await self._finish()

    async def rotate(self) -> tuple[str, int]:
        """Seal with a new KEK from now on, and rewrap what there is; returns its id and how many were.

        Where the keyring has several keys already, everything moves to the first of them instead.
        """
        keyring = self._vault.keyring
        async with self._vault.writing():
            if len(keyring.keys) == 1:
                await asyncio.to_thread(keyring.extend)
            count = await self._finish()
        logger.info("KEK rotated", extra={"kek_id": keyring.keys[0].id, "rewrapped": count})
        return keyring.keys[0].id, count

    async def _finish(self) -> int:
        # Commits show in the order they were called: after this one no older seal can turn up any more,
        # not even one whose caller was cancelled while it waited.
        await self._store.commit(Put(self._record()), operation="kek.rotate")
        count = 0
        for _ in range(TRIES):
            every = self._sealed()
            stale = [item for item in every if not self._vault.is_current(item.sealed)][:AT_ONCE]
            if not stale:
                await self._forget()
                return count
            try:
                await self._store.commit(*map(self._moved, stale), operation="kek.rotate")
                count += len(stale)
            except (Conflict, NotFound):
                continue  # one of them was deleted meanwhile: look again
        raise Conflict("what is sealed changes all the time: rotate again to finish")

    async def _forget(self) -> None:
        """Older keys open nothing any more; one in a read-only file is the operator's to remove."""
        try:
            await asyncio.to_thread(self._vault.keyring.shorten)
        except FailedPrecondition as error:
            logger.warning("older KEKs stay where they are", extra={"reason": error.message})

    def _record(self) -> KeyRecord:
        kek, now = self._vault.keyring.keys[0].id, self._clock.now()
        found = self._store.find(KeyRecord, "", "current")
        return KeyRecord(kek=kek, since=now, revision=found.revision if found else 0)

    def _moved(self, item: SealedResource) -> Put:
        return Put(msgspec.structs.replace(item, sealed=self._vault.rewrapped(item.sealed, item.place)))

    def _sealed(self) -> list[SealedResource]:
        return [item for kind in self._kinds for item in self._store.list(kind)]
