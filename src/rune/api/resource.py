"""Resource: a message that the store keeps, and the key it is kept under."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rune.api.fields import Message, Uint64


class Key(NamedTuple):
    """The address of one resource; `namespace` is empty for kinds that have none."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Resource(Message):
    """What the store keeps. Subclasses set `KIND` and have a `name`, and a `namespace` or none."""

    KIND: ClassVar[str]

    revision: Uint64 = 0
    """The revision of the log that wrote this value. A change that names one is refused with ABORTED
    when the resource has moved on since; 0 names none."""

    @property
    def key(self) -> Key:
        """Where the store keeps it."""
        return Key(self.KIND, getattr(self, "namespace", ""), getattr(self, "name"))  # noqa: B009 - declared by subclasses
