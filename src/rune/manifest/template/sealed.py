"""Sensitive values on their way through a template: what is made of them is sensitive as well."""

from __future__ import annotations

from typing import Any, cast

MASK = "***"


class Sealed:
    """A sensitive scalar. It shows nothing of itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:  # noqa: ANN401 - a scalar of any type
        self.value = value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        return MASK


def is_sealed(value: Any) -> bool:  # noqa: ANN401 - values of templates are plain data
    """Something sensitive is in it, however deep."""
    if isinstance(value, Sealed):
        return True
    if isinstance(value, dict):
        return any(map(is_sealed, cast("dict[str, Any]", value).values()))
    return isinstance(value, list) and any(map(is_sealed, cast("list[Any]", value)))


def opened(value: Any) -> Any:  # noqa: ANN401 - as is_sealed
    """The plain value."""
    if isinstance(value, Sealed):
        return value.value
    if isinstance(value, dict):
        return {key: opened(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [opened(inner) for inner in cast("list[Any]", value)]
    return value


def sealed(value: Any) -> Any:  # noqa: ANN401 - as is_sealed
    """The value with every scalar in it sealed."""
    if isinstance(value, dict):
        return {key: sealed(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [sealed(inner) for inner in cast("list[Any]", value)]
    return value if isinstance(value, Sealed) or value is None else Sealed(value)


def masked(value: Any) -> Any:  # noqa: ANN401 - as is_sealed
    """The value as it may be shown."""
    if isinstance(value, Sealed):
        return MASK
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [masked(inner) for inner in cast("list[Any]", value)]
    return value
