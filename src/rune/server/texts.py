"""From the texts of a path or a query to a field's value."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rune.api.shape import Field

INTEGER = re.compile(r"-?[0-9]{1,20}")
TRUTH = {"true": True, "1": True, "false": False, "0": False}
INTEGERS = {"int32", "int64", "uint32", "uint64"}

Parsed = tuple[Any, str]
"""The value, and what is wrong with the text: empty when it is right."""


def parsed(field: Field, texts: Sequence[str]) -> Parsed:
    """The value of a field that was given once, or several times where it is a list or a selector."""
    if field.mapping:
        return _selector(texts)
    if not field.repeated:
        return _one(field, texts[0]) if len(texts) == 1 else (None, "is given more than once")
    values = [_one(field, text) for text in texts]
    return [value for value, _ in values], next((wrong for _, wrong in values if wrong), "")


def _selector(texts: Sequence[str]) -> Parsed:
    """`app=api,tier!=db` → `{"app": "api", "tier!": "db"}`; a `==` is a `=`."""
    entries: dict[str, str] = {}
    for term in filter(None, (term.strip() for text in texts for term in text.split(","))):
        key, equals, value = term.partition("=")
        key, value = key.strip(), value.removeprefix("=").strip()
        if not equals or not key.removesuffix("!"):
            return None, f"must be like app=api,tier!=db; {term[:60]!r} is not"
        if entries.setdefault(key, value) != value:
            return None, f"asks for two values of {key[:60]!r}"
    return entries, ""


def _one(field: Field, text: str) -> Parsed:
    if field.type in INTEGERS:
        return _integer(field, text)
    if field.python is bool:
        value = TRUTH.get(text.lower())
        return value, "" if value is not None else "must be true or false"
    if field.python is float:
        return _number(text)
    return (None if field.is_time and not text else text), ""


def _integer(field: Field, text: str) -> Parsed:
    if not INTEGER.fullmatch(text):
        return None, "must be a whole number"
    if not field.is_time:
        return int(text), ""
    try:
        return datetime.fromtimestamp(int(text), UTC) if int(text) else None, ""
    except (ValueError, OverflowError, OSError):
        return None, "must be seconds since 1970"


def _number(text: str) -> Parsed:
    try:
        value = float(text)
    except ValueError:
        return None, "must be a number"
    return value, "" if math.isfinite(value) else "must be a finite number"
