"""The network of L2: reads a file of weights and scores the windows of a text with numpy.

Two readers see each window: a wide one that adds up a weight for each word and pair of words, and a deep one,
two convolutions over word vectors. The score of a window is a blend of both, as log-odds.
"""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rune.errors import FailedPrecondition
from rune.policy.scanners import tokens

MAGIC = b"RUNE-L2\x01"
ALIGN = 64
BLOCK = 64
"""Tokens of half a window: windows are two blocks long and begin at each block."""
WIDTH = 5
"""Tokens that a convolution sees; the second skips two between each."""
DILATION = 3
PIECE = 4_096
"""Tokens that are read at once, so that memory is bounded."""
WIDE_BITS = 18
ALONE = 1 << 18
"""Multiplications of one product that OpenBLAS does in the thread that asks."""
REMEMBERED = 20_000
"""Words whose vectors are kept."""

Array = NDArray[np.float32]
Rows = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the network says of one window; `first` and `last` are its tokens, `where` weighs each of them."""

    score: float
    first: int
    last: int
    family: int
    where: Array


class Network:
    """Weights in memory-mapped arrays. Share one: reading leaves no state but remembered words."""

    def __init__(self, path: Path) -> None:
        self.header, arrays = _open(path)
        self._table, self._scales = arrays["table"], arrays["scales"]
        self._wide = arrays["wide"]
        self._part = {name: np.asarray(arrays[name], np.float32) for name in _SMALL}
        self._size = self._table.shape[1]
        self._entry = np.dtype([("row", "<u4"), ("vector", "<f4", self._size)])
        self._words: dict[str, bytes] = {}

    def read(self, words: list[str]) -> list[Window]:
        """The windows of a text of plain tokens, in order; none for an empty one."""
        found: list[Window] = []
        step = PIECE - BLOCK
        for start in range(0, max(len(words) - BLOCK, 1), step):
            piece = words[start : start + PIECE]
            if piece:
                found += self._piece(self._look_up(piece), start)
        return found

    def _look_up(self, words: list[str]) -> NDArray[Any]:
        known = self._words
        fresh = self._learn(sorted({word for word in words if word not in known}))
        if len(known) + len(fresh) > REMEMBERED:
            known = {word: known[word] for word in words if word in known}
        known.update(
            fresh
        )  # a dictionary that threads share only ever grows; a full one is left to those who read it
        self._words = known
        return np.frombuffer(b"".join([known[word] for word in words]), self._entry)

    def _learn(self, words: list[str]) -> dict[str, bytes]:
        if not words:
            return {}
        rows = np.zeros((len(words), tokens.SLOTS), np.uint32)
        for at, word in enumerate(words):
            hashes = tokens.hashed(word)
            rows[at, : len(hashes)] = hashes
        vectors = self._table[rows].astype(np.float32) * self._scales[rows][..., None].astype(np.float32)
        vectors *= (rows > 0)[..., None]
        pieces = np.maximum((rows[:, 1:] > 0).sum(1), 1)
        entries = np.empty(len(words), self._entry)
        entries["row"] = rows[:, 0]
        entries["vector"] = vectors[:, 0] + vectors[:, 1:].sum(1) / pieces[:, None]
        return {word: entries[at].tobytes() for at, word in enumerate(words)}

    def _piece(self, entries: NDArray[Any], start: int) -> list[Window]:
        part, count = self._part, len(entries)
        hidden = _convolve(entries["vector"], part["first"], part["first_bias"], dilation=1)
        hidden = hidden + _convolve(hidden, part["second"], part["second_bias"], dilation=DILATION)
        wide = self._wide_of(entries["row"])
        blocks = max(-(-count // BLOCK), 1)
        found: list[Window] = []
        for block in range(max(blocks - 1, 1)):
            span = slice(block * BLOCK, min((block + 2) * BLOCK, count))
            found.append(self._window(hidden[span], wide[span], start + span.start))
        return found

    def _window(self, hidden: Array, wide: Array, first: int) -> Window:
        part = self._part
        most = hidden.max(0)
        pooled = np.concatenate([most, hidden.mean(0)])
        inner = pooled @ part["inner"] + part["inner_bias"]
        alive = np.maximum(inner, 0)
        deep = float(alive @ part["deep"] + part["deep_bias"][0])
        scale = 1 / np.sqrt(max(len(wide), 8))
        flat = float(wide.sum() * scale + part["wide_bias"][0])
        share = float(part["blend"][0])
        slope = part["inner"][: len(most)] @ (part["deep"] * (inner > 0))
        where = (hidden == most) @ (slope * most) * share + wide * (scale * (1 - share))
        return Window(
            score=share * deep + (1 - share) * flat,
            first=first,
            last=first + len(hidden),
            family=int(np.argmax(alive @ part["family"] + part["family_bias"])),
            where=where.astype(np.float32),
        )

    def _wide_of(self, rows: Rows) -> Array:
        return self._wide[pairs(rows)].astype(np.float32).sum(1) * float(self.header["wide_scale"])


def pairs(rows: Rows) -> Rows:
    """The places in the wide table of each token: alone, with the next, and with the one after that."""
    ahead = np.concatenate([rows, np.zeros(2, np.uint32)])
    one, two, three = rows, ahead[1:-1], ahead[2:]
    kinds = (
        one,
        one * np.uint32(3) + two * np.uint32(0x27D4EB2F) + np.uint32(1),
        one * np.uint32(5) + three * np.uint32(0x165667B1) + np.uint32(2),
    )
    return np.stack([kind * np.uint32(0x9E3779B1) >> np.uint32(32 - WIDE_BITS) for kind in kinds], axis=1)


def _convolve(vectors: Array, weights: Array, bias: Array, *, dilation: int) -> Array:
    """A convolution of equal length with zeros beyond both ends, then everything below zero cut off."""
    reach = WIDTH // 2 * dilation
    padded = np.zeros((len(vectors) + 2 * reach, vectors.shape[1]), np.float32)
    padded[reach : reach + len(vectors)] = vectors
    seen = sliding_window_view(padded, 2 * reach + 1, axis=0)[..., ::dilation]
    return np.maximum(_product(seen.transpose(0, 2, 1).reshape(len(vectors), -1), weights) + bias, 0)


def _product(rows: Array, weights: Array) -> Array:
    """The matrix product, some rows at a time.

    Past a size OpenBLAS shares a product among threads that spin while they wait: on a busy machine a scan
    then took fifteen milliseconds, not one. A guest in somebody's process starts no threads.
    """
    depth, width = weights.shape
    height = max(ALONE // (depth * width), 1)
    count = -(-len(rows) // height)
    padded = np.zeros((count * height, depth), np.float32)
    padded[: len(rows)] = rows
    made = padded.reshape(count, height, depth) @ weights
    return made.reshape(-1, width)[: len(rows)]


_SMALL = (
    "first", "first_bias", "second", "second_bias", "inner", "inner_bias", "deep", "deep_bias", "wide_bias",
    "family", "family_bias", "blend",
)  # fmt: skip


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
