"""Makes what a tool is called with plain JSON values, once, so that no rule has to think of anything else."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, cast

import msgspec

from rune.policy.model import Json

MAX_DEPTH = 32
MAX_VALUES = 20_000
MAX_READ = 5_000_000
"""Texts, lists and mappings that are looked at for texts; it takes some seconds."""
_FEW = 1000
_is_plain_name = re.compile(r"[A-Za-z0-9_.\-/]{1,32}").fullmatch
"""What the name of a field looks like; one that does not is a text like any other."""
_TEXT: frozenset[type] = frozenset({str})
_SCALARS: frozenset[type] = frozenset({str, int, float, bool, type(None)})


class Opaque(NamedTuple):
    """A value that cannot be made JSON; every rule that needs to read it counts it as a match."""

    reason: str
    cut: bool = False
    """Whether it stands for values that were there and not read, whatever they are."""


class _Reader:
    """Copies values; past a limit it puts an Opaque in the place of the rest."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def plain(self, value: Json, depth: int = 0) -> Json:
        """The value as JSON, an Opaque in the place of what is not."""
        self._left -= 1
        if type(value) in _SCALARS:
            return value
        if depth >= MAX_DEPTH or self._left < 0:
            return Opaque("nested too deep" if depth >= MAX_DEPTH else "too many values", cut=True)
        if isinstance(value, Mapping):
            return self._mapping(cast("Mapping[Json, Json]", value), depth + 1)
        if isinstance(value, (list, tuple, AbstractSet)):
            items = cast("list[Json]", value)
            return [self.plain(item, depth + 1) for item in items if self._left >= 0] + self._rest()
        return self._other(value, depth)

    def _rest(self) -> list[Json]:
        return [Opaque("too many values", cut=True)] if self._left < 0 else []

    def _mapping(self, mapping: Mapping[Json, Json], depth: int) -> dict[str, Json]:
        plain: dict[str, Json] = {}
        for key, value in mapping.items():
            if self._left < 0:
                plain["\x00"] = Opaque("too many values", cut=True)
                break
            plain[key if type(key) is str else str(key)] = self.plain(value, depth)
        return plain

    def _other(self, value: Json, depth: int) -> Json:
        if isinstance(value, (bytes, bytearray)):
            return value.decode("utf-8", "replace")
        if isinstance(value, os.PathLike):
            return self.plain(os.fspath(cast("os.PathLike[str]", value)), depth + 1)
        for base in (str, int, float):
            if isinstance(value, base):
                return base(value) if base is not str else str.__str__(cast("str", value))
        fields = _fields(value)
        if fields is not None:
            return self._mapping(fields, depth + 1)
        return _builtin(value)


def _fields(value: Json) -> Mapping[str, Json] | None:
    """The fields of a dataclass, a msgspec Struct, an attrs class or a pydantic model."""
    for marker in ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__", "model_fields"):
        names: Json = getattr(cast("type[Any]", type(value)), marker, None)
        if names is not None:
            own = [name if isinstance(name, str) else str(name.name) for name in names]
            return {name: getattr(value, name) for name in own if hasattr(value, name)}
    return None


def _builtin(value: Json) -> Json:
    """Times, UUIDs, decimals and enums as msgspec writes them."""
    try:
        made = msgspec.to_builtins(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return Opaque(f"a {type(value).__name__}")
    return made if type(made) in _SCALARS else Opaque(f"a {type(value).__name__}")


def plain_arguments(arguments: Json) -> dict[str, Json]:
    """A tool's arguments as a mapping of JSON values.

    Text that holds a JSON object, as model providers send it, is read as that object; anything else that
    is not a mapping becomes the one argument `input`.
    """
    if type(arguments) is dict:
        # Not by `cast`, which is a call: each tool call comes by here twice.
        mapping: dict[Any, Json] = arguments  # pyright: ignore[reportUnknownVariableType] - it may hold all
        if (
            len(mapping) <= _FEW
            and _TEXT.issuperset(map(type, mapping))
            and _SCALARS.issuperset(map(type, mapping.values()))
        ):
            return mapping
    if arguments is None:
        return {}
    made = _Reader().plain(read_arguments(arguments))
    return cast("dict[str, Json]", made) if isinstance(made, dict) else {"input": made}


def read_arguments(arguments: Json) -> Json:
    """The arguments as they came; what a text of JSON holds, if they are one."""
    if not isinstance(arguments, (str, bytes)):
        return arguments
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        # Tools read with Python's own reader: NaN, half characters and UTF-16 are good enough for that.
        found: Json = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    return cast("Json", found) if isinstance(found, dict) else arguments


class Leaf(NamedTuple):
    """A value that is neither a mapping nor a list, with the last name on the way to it."""

    name: str
    value: Json


def leaves(value: Json, name: str = "") -> Iterator[Leaf]:
    """Every leaf under a plain value."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Json]", value).items():
            yield from leaves(inner, key)
    elif isinstance(value, list):
        for inner in cast("list[Json]", value):
            yield from leaves(inner, name)
    else:
        yield Leaf(name, value)


class TooMuch(ValueError):
    """There is more than anybody looks at."""


def texts(value: Json) -> list[str]:
    """Every text in a value of any kind, in order, at any depth, and names of fields that are more than that.

    Raises TooMuch past `MAX_READ`. What rules read is bounded sooner; a text must not be able to hide there.
    """
    found: list[str] = []
    waiting = [value]
    seen: dict[int, Json] = {}
    while waiting:
        part = waiting.pop()
        if type(part) is str:
            found.append(part)
        elif id(part) not in seen:
            seen[id(part)] = part  # kept, so that no other value can get its id
            waiting += reversed(_inside(part))
        if len(found) + len(seen) > MAX_READ:
            raise TooMuch(f"more than {MAX_READ} values")
    return found


def _inside(value: Json) -> list[Json]:
    """What a value holds besides numbers; of one that holds nothing, itself as a text if it can be one."""
    if isinstance(value, (dict, Mapping)):
        return _named(cast("Mapping[Json, Json]", value))
    if isinstance(value, Opaque):
        return []
    if isinstance(value, (list, tuple, AbstractSet, ValuesView, deque)):
        items = cast("list[Json]", value)
        return [item for item in items if type(item) is str or type(item) not in _SCALARS]
    fields = _fields(value)
    if fields is not None:
        return _named(fields)
    made = _Reader().plain(value)
    return [made] if type(made) is str else []


def _named(fields: Mapping[Json, Json]) -> list[Json]:
    inside: list[Json] = []
    for key, inner in fields.items():
        if type(key) is not str or not _is_plain_name(key):
            inside.append(str(key))
        if type(inner) is str or type(inner) not in _SCALARS:
            inside.append(inner)
    return inside


def keys(value: Json) -> Iterator[str]:
    """Every key of every mapping under a plain value."""
    inner: list[Json] = []
    if isinstance(value, dict):
        mapping = cast("dict[str, Json]", value)
        yield from mapping
        inner = list(mapping.values())
    elif isinstance(value, list):
        inner = cast("list[Json]", value)
    for each in inner:
        yield from keys(each)


def values_at(arguments: Mapping[str, Json], path: str) -> list[Json]:
    """What an argument's name can mean: the key as it is written, the way through its dots, or both."""
    found = [arguments[path]] if path in arguments else []
    inner: Json = arguments
    for part in path.split("."):
        if not isinstance(inner, dict) or part not in inner:
            return found
        inner = cast("dict[str, Json]", inner)[part]
    if "." in path:
        found.append(inner)
    return found


def as_text(value: Json) -> str | None:
    """How a rule reads a leaf: text as it is, other scalars as JSON writes them, else None."""
    if isinstance(value, str):
        return value
    if isinstance(value, Opaque):
        return None
    try:
        return msgspec.json.encode(value).decode()
    except ValueError:
        return None  # a number of thousands of digits
