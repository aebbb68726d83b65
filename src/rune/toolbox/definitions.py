"""The definition of a tool as its server lists it: every text that a model may read of it, and its hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

Json: TypeAlias = Any
"""A JSON value of any shape; whoever reads it checks the type."""

IGNORED = frozenset({"_meta", "icons"})
"""What no model reads: to hash it would call a new icon a new tool."""
_NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,32}")
MOST_TEXTS = 5_000
MOST_DEPTH = 64


class TooLarge(ValueError):
    """The definition has more parts than a tool can need."""


def name_of(definition: Json) -> str:
    """The tool's name; empty where there is none, or where it is half a character that no file can hold."""
    name = cast("dict[str, Json]", definition).get("name") if isinstance(definition, dict) else None
    is_text = isinstance(name, str) and name.encode(errors="replace").decode() == name
    return name if isinstance(name, str) and is_text else ""


def fingerprint(definition: Mapping[str, Json]) -> str:
    """SHA-256 over name, title, description, schemas and annotations, whatever the order of their keys."""
    told = {key: value for key, value in definition.items() if key not in IGNORED}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def texts(definition: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Every place and its text, names of properties too; raises TooLarge."""
    found: list[tuple[str, str]] = []
    for key, value in definition.items():
        if key in IGNORED:
            continue
        for place, text in _strings(value, key, 0):
            found.append((place, text))
            if len(found) > MOST_TEXTS:
                raise TooLarge(f"it has more than {MOST_TEXTS} texts")
    return found


def prose(found: list[tuple[str, str]]) -> str:
    """The texts below each other. Names of the usual kind are left out: they say nothing, and beside the next
    text they would read as a sentence that nobody wrote.
    """
    return "\n".join(text for _, text in found if not is_plain_name(text))


def is_plain_name(text: str) -> bool:
    """A word such as `max_results`; a sentence in snake_case is none."""
    return _NAME.fullmatch(text) is not None


def _strings(value: Json, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MOST_DEPTH:
        raise TooLarge(f"it is nested deeper than {MOST_DEPTH} levels")
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Json]", value).items():
            yield f"{place}.{key[:64]} (name)", key
            yield from _strings(inner, f"{place}.{key[:64]}", depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Json]", value)):
            yield from _strings(inner, f"{place}[{number}]", depth + 1)
