"""Vaults for tests: keys that are kept in memory, and a safe over any store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from rune.core.keyring import SIZE, Key
from rune.core.store.base import Store
from rune.core.vault import Vault
from rune.orchestrator.safe import Safe


class MemoryKeyring:
    """A keyring as a file would be one; `saved` is what a crash leaves."""

    place = "memory"

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self.keys: tuple[Key, ...] = tuple(keys) or (fresh(),)
        self.refuses: BaseException | None = None

    def extend(self) -> None:
        if self.refuses:
            raise self.refuses
        self.keys = (fresh(), *self.keys)

    def shorten(self) -> None:
        if self.refuses:
            raise self.refuses
        self.keys = self.keys[:1]


class Opened(NamedTuple):
    """A safe with its keys."""

    safe: Safe
    keyring: MemoryKeyring


def fresh() -> Key:
    return Key(os.urandom(SIZE))


def opened(store: Store) -> Opened:
    """A safe with one key."""
    keyring = MemoryKeyring()
    return Opened(Safe(store, Vault(keyring)), keyring)
