"""Resources for the tests of stores: one kind with namespaces, one without."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from rune.core.store.base import Key, Resource


class Box(Resource, frozen=True, kw_only=True):
    """Addressed by namespace and name."""

    KIND: ClassVar[str] = "boxes"

    namespace: str = "prod"
    name: str
    size: float = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    @property
    def key(self) -> Key:
        return Key(self.KIND, self.namespace, self.name)


class Node(Resource, frozen=True, kw_only=True):
    """Addressed by name alone."""

    KIND: ClassVar[str] = "nodes"

    name: str

    @property
    def key(self) -> Key:
        return Key(self.KIND, "", self.name)


class Stray(Resource, frozen=True, kw_only=True):
    """A kind that the stores of the tests do not know."""

    KIND: ClassVar[str] = "strays"

    @property
    def key(self) -> Key:
        return Key(self.KIND, "", "stray")


KINDS = (Box, Node)


def at(value: Box, **changes: object) -> Box:
    """A box with some fields changed, such as its revision."""
    return msgspec.structs.replace(value, **changes)
