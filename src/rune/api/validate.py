"""From plain data to a message: everything that is wrong with it is found, and said field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rune.api.fields import Message
from rune.api.shape import Field, fields
from rune.errors import InvalidArgument, Unimplemented, Violation

M = TypeVar("M", bound=Message)

MOST_VIOLATIONS = 50
"""A request with more is cut off there: nobody reads further."""


def build(model: type[M], data: Mapping[str, Any]) -> M:
    """The message that the data describes, by wire names; raises InvalidArgument with every violation."""
    try:
        return msgspec.convert(data, model)
    except (msgspec.ValidationError, RecursionError) as error:
        found = violations(model, data) or [Violation("", _plain(str(error)))]
        raise InvalidArgument.of(found[:MOST_VIOLATIONS]) from error


def assemble(model: type[M], data: Mapping[str, Any]) -> M:
    """As `build`, for who builds few messages once: only what is there has to be worked out.

    `build` waits until msgspec has a plan for every message that could be in there, 6 ms for a service.
    """
    found = violations(model, data)
    if found:
        raise InvalidArgument.of(found[:MOST_VIOLATIONS])
    return _assembled(model, data)


def _assembled(model: type[Any], data: Mapping[str, Any]) -> Any:
    values = {
        field.name: _assembled_value(field, data[field.wire]) for field in fields(model) if field.wire in data
    }
    return model(**values)


def _assembled_value(field: Field, value: Any) -> Any:
    if not field.is_message or field.mapping or value is None:
        return msgspec.convert(value, field.hint)
    if field.repeated:
        return [_assembled(field.python, item) for item in value]
    return _assembled(field.python, value)


def violations(model: type[Message], data: Mapping[str, Any], path: str = "") -> list[Violation]:
    """Everything that keeps the data from being this message, each with its dotted path."""
    found: list[Violation] = []
    for field in fields(model):
        where = f"{path}{field.wire}"
        if field.wire in data:
            found += _field_violations(field, data[field.wire], where)
        elif field.required:
            found.append(Violation(where, "is required"))
    return found


def _field_violations(field: Field, value: Any, where: str) -> list[Violation]:
    if not field.is_message or field.mapping:
        return _value_violations(field, value, where)
    if not field.repeated:
        return _message_violations(field, value, where)
    if not isinstance(value, list):
        return [Violation(where, "must be a list")]
    found: list[Violation] = []
    for number, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - decoded data
        found += _message_violations(field, item, f"{where}[{number}]")
        if len(found) >= MOST_VIOLATIONS:
            break
    return found


def _message_violations(field: Field, value: Any, where: str) -> list[Violation]:
    if isinstance(value, Mapping):
        return violations(field.python, value, f"{where}.")  # pyright: ignore[reportUnknownArgumentType] - decoded data
    return [] if value is None else [Violation(where, "must be an object")]


def _value_violations(field: Field, value: Any, where: str) -> list[Violation]:
    try:
        msgspec.convert(value, field.hint)
    except (msgspec.ValidationError, RecursionError) as error:
        text, _, inner = str(error).partition(" - at ")
        spot = re.sub(r"^.*\$|\[\.\.\.\]", "", inner.strip("`"))
        return [Violation(where + spot, field.constraints.description or _plain(text))]
    return []


def _plain(text: str) -> str:
    """Msgspec's words, without its marks."""
    text = re.sub(r"^Expected `", "must be `", text).replace("`", "")
    return text[0].lower() + text[1:]


def refuse_unsupported(message: Message, model: type[Message] | None = None) -> None:
    """Raise Unimplemented when a field is set that this release does not support, naming it.

    The fields are those of the model; without one, of the message's own class.
    """
    for where, reason in _unsupported(message, "", model or type(message)):
        raise Unimplemented(f"{where} is not supported: {reason}")


def _unsupported(message: Message, path: str, model: type[Message]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for field in _worth_a_look(model):
        value = getattr(message, field.name)
        if not value or value == field.default:
            continue
        if field.unsupported:
            found.append((f"{path}{field.wire}", field.unsupported))
        elif field.repeated:
            for number, item in enumerate(value):
                found += _unsupported(item, f"{path}{field.wire}[{number}].", field.python)
        else:
            found += _unsupported(value, f"{path}{field.wire}.", field.python)
    return found


_worth: dict[type[Message], tuple[Field, ...]] = {}


def _worth_a_look(model: type[Message]) -> tuple[Field, ...]:
    """The fields that are unsupported, or that hold messages which have such fields."""
    if model not in _worth:
        _worth[model] = ()  # a message that holds itself is not looked into again
        _worth[model] = tuple(
            field
            for field in fields(model)
            if field.unsupported or (field.is_message and not field.mapping and _worth_a_look(field.python))
        )
    return _worth[model]
