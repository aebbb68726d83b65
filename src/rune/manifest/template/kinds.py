"""The values of templates: plain data, what is missing, and which of them a function takes."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

Plain: TypeAlias = Any
"""A value of a template: what YAML can say, a sensitive scalar (`Sealed`), or `Missing`."""

MOST_TEXT = 4 << 20


class Unfit(Exception):
    """A function cannot do that with these values."""


class Missing:
    """A value that there is not. Falsy, and an error wherever a value is needed."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __bool__(self) -> bool:
        return False


def is_true(value: Plain) -> bool:
    """What counts as true: everything but false, 0, null and what is empty or not there."""
    return bool(value)


def printed(value: Plain) -> str:
    """The text of a scalar."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            raise Unfit("the value is null, which has no text; `default` gives one")
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)  # noqa: PLR2004 - past this floats are not whole
        case _:
            what = "a mapping" if isinstance(value, dict) else "a list"
            raise Unfit(f"{what} has no text of its own; toYaml or toJson writes it out")


def whole(value: Plain) -> int:
    """A whole number, read from text too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Unfit(f"a whole number is needed, not {kind(value)}")
    try:
        return int(value)
    except (ValueError, OverflowError) as error:
        raise Unfit("a whole number is needed, not this text") from error


def number(value: Plain) -> int | float:
    """A number, read from text too."""
    if isinstance(value, float):
        return value
    return whole(value)


def items(value: Plain) -> list[Plain]:
    """A list."""
    if not isinstance(value, list):
        raise Unfit(f"a list is needed, not {kind(value)}")
    return cast("list[Plain]", value)


def mapping(value: Plain) -> dict[str, Plain]:
    """A mapping."""
    if not isinstance(value, dict):
        raise Unfit(f"a mapping is needed, not {kind(value)}")
    return cast("dict[str, Plain]", value)


def kind(value: Plain) -> str:
    """What people call the value's type."""
    names: dict[type, str] = {
        dict: "a mapping",
        list: "a list",
        str: "text",
        bool: "true or false",
        type(None): "null",
    }
    return next((name for kind_, name in names.items() if isinstance(value, kind_)), "a number")


def bounded(text: str) -> str:
    """The text, when it is short enough."""
    if len(text) > MOST_TEXT:
        raise Unfit(f"the text becomes longer than {MOST_TEXT >> 20} MiB")
    return text
