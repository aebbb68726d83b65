"""Where protobuf bytes are wrong: their own reader does not say, so what it refused is looked through."""

from __future__ import annotations

from typing import Any

from rune.errors import Violation

DEEPEST = 100
VARINT, LONG, BYTES, INT = 0, 1, 2, 5
SIZES = {LONG: 8, INT: 4}
TOO_DEEP = "is nested too deeply"
CUT = "is cut off or has a wrong length"
VARINT_BYTES = 10


def fault(descriptor: Any, data: bytes, path: str = "") -> Violation | None:
    """The first thing that is wrong with the bytes of a message, None when nothing was found."""
    if path.count(".") > DEEPEST:
        return Violation(path.rstrip("."), TOO_DEEP)
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field = descriptor.fields_by_number.get(tag >> 3)
        where = path + (field.name if field is not None else f"#{tag >> 3}")
        start, end = _extent(data, at, tag & 7)
        if tag < 1 << 3 or end > len(data):
            return Violation(where, CUT)
        if field is not None and tag & 7 == BYTES:
            found = _inside(field, data[start:end], where)
            if found is not None:
                return found
        at = end
    return None


def _inside(field: Any, data: bytes, where: str) -> Violation | None:
    if field.type == field.TYPE_MESSAGE:
        return fault(field.message_type, data, f"{where}.")
    if field.type == field.TYPE_STRING:
        try:
            data.decode()
        except UnicodeDecodeError:
            return Violation(where, "is not UTF-8")
    return None


def _extent(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where a value begins and ends; an end past the data means that it is broken."""
    if kind == VARINT:
        return at, _varint(data, at)[1]
    if kind == BYTES:
        length, start = _varint(data, at)
        return start, start + length
    return at, at + SIZES.get(kind, len(data) + 1)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends; past the data when it is broken."""
    value = 0
    for place, byte in enumerate(data[at : at + VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 1 << 7:
            return value, at + place + 1
    return 0, len(data) + 1
