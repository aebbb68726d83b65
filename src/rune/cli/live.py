"""Progress: a block that is drawn over itself on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TextIO

from rune.cli import table

UP = "\x1b[{}A"
CLEAR = "\x1b[K"
CLEAR_BELOW = "\x1b[J"
COLOURS = {"Running": "\x1b[32m", "Failed": "\x1b[31m", "Gone": "\x1b[32m"}
PLAIN = "\x1b[0m"


class Line(NamedTuple):
    """How one thing is."""

    name: str
    state: str
    more: str = ""
    is_settled: bool = False


class Board:
    """Shows lines by name. On a terminal what is not settled stays in view, as much as there is room for."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._is_live = stream.isatty() and environ.get("TERM") != "dumb"
        self._colours = self._is_live and not environ.get("NO_COLOR")
        self._said: dict[str, Line] = {}
        self._drawn = 0

    def update(self, lines: Sequence[Line]) -> None:
        """Show how all of them are now."""
        if self._is_live:
            self._draw(lines)
        else:
            for line in lines:
                if self._said.get(line.name) != line:
                    self._stream.write(_plain(line) + "\n")
        self._said = {line.name: line for line in lines}
        self._stream.flush()

    def _draw(self, lines: Sequence[Line]) -> None:
        size = _size(self._stream)
        settled = sum(line.is_settled for line in lines)
        room = max(size.lines - 3, 1)
        shown = sorted(lines, key=lambda line: line.is_settled)[:room] if len(lines) > room else lines
        wide = max((table.columns(line.name) for line in shown), default=0)
        drawn = [
            table.cut(
                table.clean(f"{table.padded(line.name, wide)}   {line.state:<9}   {line.more}"), size.columns
            )
            for line in shown
        ]
        drawn = [self._coloured(text, line) for text, line in zip(drawn, shown, strict=True)]
        drawn.append(f"{settled} of {len(lines)} done")
        up = UP.format(self._drawn) if self._drawn else ""
        body = "".join(f"{text.rstrip()}{CLEAR}\n" for text in drawn)
        self._stream.write(f"\r{up}{body}{CLEAR_BELOW}")
        self._drawn = len(drawn)

    def _coloured(self, text: str, line: Line) -> str:
        colour = COLOURS.get(line.state, "") if self._colours else ""
        return f"{colour}{text}{PLAIN}" if colour else text


def _plain(line: Line) -> str:
    return table.clean(": ".join(filter(None, (line.name, line.state, line.more))))


def _size(stream: TextIO) -> os.terminal_size:
    try:
        return os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return os.terminal_size((80, 24))
