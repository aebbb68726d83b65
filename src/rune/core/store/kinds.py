"""The resource classes a store knows, and their JSON. What is kept is a copy that went through JSON once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from rune.core.store.base import Key, Put, Resource, Write
from rune.errors import InvalidArgument


class Step(NamedTuple):
    """One write as the store does it: the key, the revision it was read at, and what will be there."""

    key: Key
    read_at: int
    creates: bool
    after: Resource | None


class Kinds:
    """Resource classes by kind. Every value a store keeps is of one of them."""

    def __init__(self, classes: Sequence[type[Resource]]) -> None:
        self._decoders: dict[str, msgspec.json.Decoder[Resource]] = {}
        self._classes: dict[str, type[Resource]] = {}
        for each in classes:
            if each.KIND in self._classes:
                message = (
                    f"{each.__name__} and {self._classes[each.KIND].__name__} share the kind {each.KIND!r}"
                )
                raise ValueError(message)
            self._classes[each.KIND] = each
            self._decoders[each.KIND] = msgspec.json.Decoder(each)
        self._encoder = msgspec.json.Encoder()

    def __contains__(self, kind: object) -> bool:
        return kind in self._classes

    def encode(self, value: Resource) -> bytes:
        """The JSON of a resource, its revision included."""
        return self._encoder.encode(value)

    def decode(self, kind: str, text: bytes | str | msgspec.Raw) -> Resource:
        """The resource of a JSON; fields that its class does not know are dropped."""
        return self._decoders[kind].decode(text)

    def steps(self, writes: Sequence[Write]) -> Sequence[Step]:
        """The writes with copies of their values; raises InvalidArgument for what cannot be stored."""
        steps = [self._step(write) for write in writes]
        if len({step.key for step in steps}) < len(steps):
            message = "a commit writes each key once: " + ", ".join(str(step.key) for step in steps)
            raise InvalidArgument(message)
        return steps

    def _step(self, write: Write) -> Step:
        if isinstance(write, Put):
            value = self._copy(write.value)
            return Step(value.key, value.revision, creates=value.revision == 0, after=value)
        return Step(write.key, write.revision, creates=False, after=None)

    def _copy(self, value: Resource) -> Resource:
        """A value equal to the one a restart would load, and that the caller cannot change any more."""
        if self._classes.get(value.KIND) is not type(value):
            message = f"{type(value).__name__} (kind {value.KIND!r}) is not a resource of this store"
            raise InvalidArgument(message)
        try:
            return self.decode(value.KIND, self.encode(value))
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            message = f"{value.KIND} cannot be stored: {error}"
            raise InvalidArgument(message) from error
