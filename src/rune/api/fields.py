"""The types that fields of messages are made of, and how each is dressed on the wire.

In published messages a scalar that is absent *is* zero (proto3 has no presence), so such a field
has no other default; a scalar that must be there has no default at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

from msgspec import Meta, Struct, StructMeta, field

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1, extra={"proto": "int32"})]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, extra={"proto": "int64"})]
Uint32 = Annotated[int, Meta(ge=0, le=2**32 - 1, extra={"proto": "uint32"})]
Uint64 = Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"proto": "uint64"})]
"""Up to 2**63 - 1: nothing in Rune counts further, and SQLite cannot."""
Count = Annotated[int, Meta(ge=0, le=2**31 - 1, extra={"proto": "int32"})]
Seconds = Annotated[int, Meta(ge=0, le=366 * 86400, extra={"proto": "int32"})]
Port = Annotated[int, Meta(ge=1, le=65535, extra={"proto": "int32"})]
AnyPort = Annotated[int, Meta(ge=0, le=65535, extra={"proto": "int32"})]
"""A port, or 0 for none."""
Scale = Annotated[int, Meta(ge=0, le=10_000, extra={"proto": "int32"})]

LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$(?!\n)"
"""In Python `$` alone also stands before a line break at the end, and `api\\n` would be a name."""
Name = Annotated[
    str,
    Meta(
        pattern=LABEL,
        description="1 to 63 lowercase letters, digits or hyphens, with a letter or digit at both ends.",
    ),
]
"""A DNS-1123 label: what services, namespaces, secrets and all other resources are called."""
NamespaceName = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$(?!\n)",
        description="The namespace's name; empty means `default`.",
        extra={"scope": True},
    ),
]
NamespaceFilter = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$(?!\n)",
        description="The namespace's name; empty means `default`, `*` all that the caller may see.",
        extra={"scope": True},
    ),
]
Text = Annotated[str, Meta(max_length=4096)]
Selector = Annotated[
    dict[str, str],
    Meta(
        description="Terms that must all hold: app=api is the entry `app`: `api`, tier!=db is `tier!`: `db`."
    ),
]
"""What a list is narrowed by. A key that ends in `!` asks for another value, or none, under that key."""

Timestamp = Annotated[Annotated[datetime, Meta(tz=True)] | None, Meta(extra={"proto": "string"})]
"""RFC 3339 text on the wire, empty when absent."""
UnixSeconds = Annotated[Annotated[datetime, Meta(tz=True)] | None, Meta(extra={"proto": "int64"})]
"""Whole seconds since 1970 on the wire, 0 when absent."""
Moment = Annotated[Annotated[datetime, Meta(tz=True)], Meta(extra={"proto": "string"})]
"""RFC 3339 text on the wire, and it must be there."""
UnixMillis = Annotated[
    Annotated[datetime, Meta(tz=True)] | None, Meta(extra={"proto": "int64", "json": "millis"})
]
"""Milliseconds since 1970: a number in JSON, null when absent."""
Total = Annotated[int, Meta(ge=0, le=2**53 - 1, extra={"proto": "int64", "json": "number"})]
"""A count that is a number in JSON too; further up JavaScript would round it."""
MaybeText = Annotated[str | None, Meta(extra={"json": "null"})]
"""Text that JSON shows as null when there is none."""
JsonObject = Annotated[dict[str, Any], Meta(extra={"proto": "string", "json": "raw"})]
"""An object of any shape: itself in JSON, its JSON text in protobuf."""
JsonObjects = Annotated[list[dict[str, Any]], Meta(extra={"proto": "string", "json": "raw"})]
"""A list of such objects, also one text in protobuf."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class _MessageMeta(StructMeta):
    """Makes every message frozen and keyword-only, which msgspec does not inherit."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any
    ) -> _MessageMeta:
        settings: dict[str, Any] = {"frozen": True, "kw_only": True, **options}
        return super().__new__(cls, name, bases, body, **settings)


class Message(Struct, metaclass=_MessageMeta):
    """What crosses a wire. The class's name is the message's, unless `PROTO` says another."""

    PROTO: ClassVar[str] = ""
    SNAKE: ClassVar[bool] = False
    """Its names have underscores in JSON too."""
    STRANGERS: ClassVar[str] = ""
    """The field of objects that keeps what JSON says under names that are no fields; without one they are
    refused."""


class Discreet(Message):
    """A message whose values are credentials: it prints without them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class WireEnum(StrEnum):
    """A closed set of words; each value is the name it has on the wire."""


E = TypeVar("E", bound=type[WireEnum])


def nested_as(name: str) -> Callable[[E], E]:
    """Declare an enum inside a message of the wire: `nested_as("WatchStatus.Code")`."""

    def mark(words: E) -> E:
        NESTED[words] = name
        return words

    return mark


NESTED: dict[type[WireEnum], str] = {}
"""Enums that are declared inside a message, and their dotted names."""


def later(reason: str) -> Meta:
    """Mark a field of the contract that this release refuses: UNIMPLEMENTED names it when it is set."""
    return Meta(extra={"unsupported": reason})


def named(json: str) -> Meta:
    """Give a field another name in JSON than its own."""
    return Meta(extra={"name": json})


def one_of(group: str) -> Meta:
    """Mark a field as one of a group of which at most one is set."""
    return Meta(extra={"oneof": group})


def extras(annotation: Any) -> dict[str, Any]:
    """Everything that `extra=` says on an annotated type, outermost last."""
    found: dict[str, Any] = {}
    for meta in getattr(annotation, "__metadata__", ()):
        found.update(getattr(meta, "extra", None) or {})
    return found
