"""The classifier of L2: reads a file of weights and scores a text and its windows with numpy.

Each feature has one weight. How often it occurs counts by its logarithm, common ones count less, and both the
features of words and those of pieces are brought to length one.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rune.errors import FailedPrecondition
from rune.policy.scanners.grams import BITS, HALF, Numbers, Places, grams

MAGIC = b"RUNE-L2\x02"
ALIGN = 64
BLOCK = 32
"""Tokens of half a window: in a long paragraph windows are two blocks long and begin at each block."""
LEAST, MOST = 8, 4 * BLOCK
"""Tokens of a paragraph that is a window of its own: a shorter is read with the next, a longer cut."""
WHOLE = 10 * BLOCK
"""Tokens of the longest text that is one window."""
BRIEF = 0.75
"""What each halving of a window costs it: in a line of ten words one word says too much."""
IDF_STEP = 16
"""Steps of one in the stored rarity of a feature; zero marks a feature that training did not keep."""
FAMILY_BITS = 18

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """The tokens from `first` to before `last`, and how much they read like an attack, as log-odds."""

    score: float
    first: int
    last: int


class Classifier:
    """Weights in memory-mapped arrays. Share one: reading leaves no state."""

    def __init__(self, path: Path) -> None:
        """Maps the file; raises FailedPrecondition for a file of another version."""
        self.header, arrays = _open(path)
        self.gain, self.rarity, self._family = arrays["gain"], arrays["rarity"], arrays["family"]
        self._bias = float(self.header["bias"])

    def read(self, words: list[str]) -> list[Window]:
        """The windows of a text of plain tokens, none of them empty; a short text is one window."""
        if len(words) <= WHOLE:
            return [Window(self.score(words), 0, len(words))]
        owner, number = self._known(words)
        apart, between = borders(words)
        one, two = _inside(owner, apart), _inside(owner, between)
        window = np.concatenate([one[one >= 0], two[two >= 0] + len(apart)])
        bounds = apart + between
        scores = self._scores(window, np.concatenate([number[one >= 0], number[two >= 0]]), len(bounds))
        found = [Window(score - brief(*bound), *bound) for score, bound in zip(scores, bounds, strict=True)]
        return sorted(found, key=lambda window: window.first)

    def score(self, words: list[str]) -> float:
        """How much a short text reads like an attack."""
        owner, number = self._known(words)
        return self._scores(np.zeros(len(owner), np.int64), number, 1)[0]

    def gains(self, words: list[str]) -> Array:
        """How much each token speaks for an attack."""
        owner, number = self._known(words)
        rarity = self.rarity[number].astype(np.float32)
        upper = number >= HALF
        length = np.sqrt(np.bincount(upper, rarity * rarity, 2)).clip(1e-9)
        gain = self.gain[number].astype(np.float32) / length[upper.astype(np.int64)]
        return np.bincount(owner, gain, len(words)).astype(np.float32)

    def family(self, words: list[str]) -> int:
        """Which threat an attack of these words is."""
        _, number = self._known(words)
        rows = number[number < HALF] >> np.uint32(BITS - FAMILY_BITS)
        return int(np.argmax(self._family[rows].astype(np.float32).sum(0)))

    def _known(self, words: list[str]) -> tuple[Places, Numbers]:
        owner, number = grams(words)
        known = self.rarity[number] > 0
        return owner[known], number[known]

    def _scores(self, window: Places, number: Numbers, count: int) -> list[float]:
        """One score for each window, from its features in any order."""
        keys, often = np.unique(window * (2 * HALF) + number, return_counts=True)
        feature = keys % (2 * HALF)
        part = keys // HALF
        weight = 1 + np.log(often)
        rare = weight * self.rarity[feature] / IDF_STEP
        length = np.sqrt(np.bincount(part, rare * rare, 2 * count)).clip(1e-9)
        total = np.bincount(part, weight * self.gain[feature], 2 * count) / length
        return (total.reshape(count, 2).sum(1) + self._bias).tolist()


def brief(first: int, last: int) -> float:
    """What a window of a long text pays for holding fewer tokens than two blocks."""
    return BRIEF * max(0.0, math.log2(2 * BLOCK / (last - first)))


def borders(words: list[str]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The windows of a long text: those that lie apart, and those half-way between two in long paragraphs."""
    apart, between = list[tuple[int, int]](), list[tuple[int, int]]()
    for first, last in _paragraphs(words):
        if last - first <= MOST:
            apart.append((first, last))
            continue
        starts = range(first, last, 2 * BLOCK)
        apart += [(start, min(start + 2 * BLOCK, last)) for start in starts]
        between += [(start + BLOCK, min(start + 3 * BLOCK, last)) for start in starts if start + BLOCK < last]
    return apart, between


def _paragraphs(words: list[str]) -> Iterator[tuple[int, int]]:
    first = 0
    for at, word in enumerate(words):
        if word == "\n" and at - first >= LEAST:
            yield first, at
            first = at + 1
    if first < len(words):
        yield first, len(words)


def _inside(owner: Places, bounds: list[tuple[int, int]]) -> Places:
    """The number of the window that each token lies in, -1 for one in none; the windows are in order."""
    if not bounds:
        return np.full(len(owner), -1)
    edges = np.array(bounds)
    found = np.searchsorted(edges[:, 0], owner, "right") - 1
    return np.where((found >= 0) & (owner < edges[found, 1]), found, -1)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header, and the arrays as views of the mapped file; raises FailedPrecondition for another file."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if mapped[: len(MAGIC)] != MAGIC:
            raise FailedPrecondition(f"{path}: is no file of L2 weights of this version; install Rune again")
        (length,) = struct.unpack_from("<I", mapped, len(MAGIC))
        begin = len(MAGIC) + 4
        header = json.loads(mapped[begin : begin + length])
        arrays = {name: _array(mapped, place) for name, place in header["arrays"].items()}
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise FailedPrecondition(
            f"{path}: the L2 weights cannot be read ({error}); install Rune again"
        ) from error
    return header, arrays


def _array(mapped: mmap.mmap, place: dict[str, Any]) -> NDArray[Any]:
    shape = tuple(place["shape"])
    count = int(np.prod(shape))
    return np.frombuffer(mapped, np.dtype(place["dtype"]), count, place["offset"]).reshape(shape)
