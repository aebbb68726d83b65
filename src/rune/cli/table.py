"""Plain tables that fit where they are shown; on a pipe nothing is cut."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

GAP = 3
NARROWEST = 5
"""A column is not made narrower than this; what does not fit then runs over."""
READABLE = 12
"""What a column needs to say something."""
_OBEYED = re.compile(r"(\x1b\[[0-9;:]*m)|[\x00-\x08\x0a-\x1f\x7f-\x9f]")
"""A colour or another look of letters; any other control character."""
_PLAIN = "\x1b[0m"


def render(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None, show_headers: bool = True
) -> Iterator[str]:
    """The table's lines, at most `width` columns of a terminal wide (None: as wide as it is)."""
    shown = [[clean(cell) for cell in row] for row in rows]
    lines = [list(headers), *shown] if show_headers else shown
    if not lines:
        return
    wide = fitted([max(map(columns, column)) for column in zip(*lines, strict=True)], width)
    for line in lines:
        cells = [padded(cut(cell, size), size) for cell, size in zip(line, wide, strict=True)]
        yield (" " * GAP).join(cells).rstrip()


def fitted(sizes: Sequence[int], width: int | None) -> list[int]:
    """The widths of columns that together fit: the widest give first, and last the one that names the row."""
    if width is None:
        return list(sizes)
    others = _narrowed(sizes[1:], width - sizes[0] - GAP)
    return _narrowed([sizes[0]], width - sum(others) - GAP * len(others)) + others


def roomy(sizes: Sequence[int], width: int | None) -> int:
    """How many columns, from the left, have room for a word or two; those after them are better left out."""
    if width is None:
        return len(sizes)
    used = sizes[0]
    for number, size in enumerate(sizes[1:], start=1):
        used += GAP + min(size, READABLE)
        if used > width:
            return number
    return len(sizes)


def _narrowed(sizes: Sequence[int], width: int) -> list[int]:
    found = list(sizes)
    over = sum(found) + GAP * (len(found) - 1) - width
    while over > 0 and max(found, default=0) > NARROWEST:
        widest = max(found)
        second = max([size for size in found if size < widest], default=NARROWEST)
        give = [number for number, size in enumerate(found) if size == widest]
        step = min(widest - max(second, NARROWEST), -(-over // len(give))) or 1
        for number in give:
            if over > 0:
                found[number] -= step
                over -= step
    return found


def clean(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def safe(text: str) -> str:
    """The same with its lines and tabs left as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)


def coloured(text: str) -> str:
    """A line with the colours that its writer gave it, and with nothing else that a terminal would obey."""
    if text.isprintable():
        return text
    kept = _OBEYED.sub(lambda found: found[1] or " ", text)
    return f"{kept}{_PLAIN}" if "\x1b" in kept and not kept.endswith(_PLAIN) else kept


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    import unicodedata  # noqa: PLC0415 - only for what is not ASCII

    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, size: int) -> str:
    """The text in at most so many columns, with `…` where something is missing."""
    if columns(text) <= size:
        return text
    kept, used = "", 0
    for char in text:
        used += _columns_of(char)
        if used > size - 1:
            break
        kept += char
    return kept + "…"


def padded(text: str, size: int) -> str:
    """The text with spaces up to so many columns."""
    return text + " " * (size - columns(text))


def terminal_width() -> int | None:
    """How wide the terminal is that stdout goes to; None when it goes elsewhere."""
    stream: TextIO = sys.stdout
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None
