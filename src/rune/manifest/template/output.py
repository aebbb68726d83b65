"""What a template became, piece by piece, so that each place of it is known in the template."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rune.manifest.template.nodes import Template
from rune.manifest.template.sealed import MASK
from rune.positions.nodes import BREAK, Mark
from rune.positions.spots import Spot


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of the output, and where it comes from."""

    text: str
    offset: int
    """In the template; for text that stands there, of its first character."""
    is_verbatim: bool = False
    is_sealed: bool = False


class Rendered:
    """The output of one template; an Origin for whoever parses it."""

    def __init__(self, template: Template, pieces: Sequence[Piece]) -> None:
        self._template, self._pieces = template, pieces
        self._begins: list[int] = []
        at = 0
        for piece in pieces:
            self._begins.append(at)
            at += len(piece.text)
        self.text = "".join(piece.text for piece in pieces)
        self._starts = [0, *(found.end() for found in BREAK.finditer(self.text))]

    @property
    def name(self) -> str:
        """The template's."""
        return self._template.name

    @property
    def shown(self) -> str:
        """The output without what is sensitive."""
        return "".join(MASK if piece.is_sealed else piece.text for piece in self._pieces)

    @property
    def lines(self) -> Sequence[str]:
        """Of the template."""
        return self._template.lines

    def spot(self, start: Mark, end: Mark) -> Spot:
        """Where the template makes that part of the output."""
        first, last = self._offset(start), self._offset(end)
        if not self._pieces:
            return self._template.spot(0)
        number = max(bisect_right(self._begins, first) - 1, 0)
        piece = self._pieces[number]
        inside = min(first - self._begins[number], len(piece.text)) if piece.is_verbatim else 0
        return self._template.spot(piece.offset + inside, is_sealed=self._is_sealed(first, last))

    def _offset(self, mark: Mark) -> int:
        line, column = mark
        line = min(line, len(self._starts))
        return min(self._starts[line - 1] + column - 1, len(self.text))

    def _is_sealed(self, first: int, last: int) -> bool:
        number = max(bisect_right(self._begins, first) - 1, 0)
        while number < len(self._pieces) and self._begins[number] < last:
            if self._pieces[number].is_sealed:
                return True
            number += 1
        return False
