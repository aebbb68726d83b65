"""Sensitive values on their way through a template: what is made of them is sensitive as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from rune.manifest.template.kinds import Plain

MASK = "***"


class Sealed:
    """A sensitive scalar. It shows nothing of itself."""

    __slots__ = ("value",)

    def __init__(self, value: Plain) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        return MASK


def is_sealed(value: Plain) -> bool:
    """Something sensitive is in it, however deep."""
    if isinstance(value, Sealed):
        return True
    if isinstance(value, dict):
        return any(map(is_sealed, cast("dict[str, Plain]", value).values()))
    return isinstance(value, list) and any(map(is_sealed, cast("list[Plain]", value)))


def opened(value: Plain) -> Plain:
    """The plain value."""
    return _each(value, lambda scalar: scalar.value if isinstance(scalar, Sealed) else scalar)


def sealed(value: Plain) -> Plain:
    """The value with every scalar in it sealed."""
    return _each(value, lambda scalar: scalar if isinstance(scalar, Sealed | None) else Sealed(scalar))


def masked(value: Plain) -> Plain:
    """The value as it may be shown."""
    return _each(value, lambda scalar: MASK if isinstance(scalar, Sealed) else scalar)


def _each(value: Plain, change: Callable[[Plain], Plain]) -> Plain:
    """The value with every scalar in it changed."""
    if isinstance(value, dict):
        return {key: _each(inner, change) for key, inner in cast("dict[str, Plain]", value).items()}
    if isinstance(value, list):
        return [_each(inner, change) for inner in cast("list[Plain]", value)]
    return change(value)
