"""Turns the tokens of a text into numbered features: words, pairs of words, and pieces of words.

Features are numbered by hashing, so that there is no vocabulary to load and no unknown word. Training and
scanning both use this module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rune.policy.scanners.tokens import LONGEST

BITS = 20
"""Words and pairs share this many bits of numbers; pieces have as many of their own, above."""
HALF = 1 << BITS
PIECES = (3, 4, 5)
"""Characters of a piece of a word; the gap before and after the word is one of them."""

Numbers = NDArray[np.uint32]
Places = NDArray[np.int64]

_STEP, _GOLDEN, _SECOND, _MIX = (np.uint32(x) for x in (0x01000193, 0x9E3779B1, 0x27D4EB2F, 0x85EBCA77))
_POWERS = np.array([pow(0x01000193, at, 1 << 32) for at in range(LONGEST + 2)], np.uint32)


def grams(words: list[str]) -> tuple[Places, Numbers]:
    """The token that each feature begins at, and its number below `2 * HALF`; no word may be empty."""
    if not words:
        return np.zeros(0, np.int64), np.zeros(0, np.uint32)
    codes, ends = _codes(words)
    owner, number = _pieces(codes, ends)
    single = _hashes(codes, ends)
    pairs = single[:-1] * np.uint32(3) + single[1:] * _SECOND + np.uint32(1)
    every = np.arange(len(words))
    return (
        np.concatenate([every, every[:-1], owner]),
        np.concatenate([_number(single), _number(pairs), _number(number) + np.uint32(HALF)]),
    )


def _codes(words: list[str]) -> tuple[Numbers, Places]:
    """The characters of all words with a zero before each and after the last, and where those zeros are."""
    text = " " + " ".join(words) + " "
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).copy()
    ends = np.zeros(len(words) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, words), np.int64, len(words)) + 1, out=ends[1:])
    codes[ends] = 0
    return codes, ends


def _hashes(codes: Numbers, ends: Places) -> Numbers:
    """One number for each word: its characters times powers of one factor, mixed."""
    begins = ends[:-1]
    inside = np.arange(len(codes) - 1) - np.repeat(begins, np.diff(ends))
    return _mixed(np.add.reduceat(codes[1:] * _POWERS[inside], begins, dtype=np.uint32))


def _pieces(codes: Numbers, ends: Places) -> tuple[Places, Numbers]:
    """The pieces that lie within one word and the gaps around it."""
    gap = np.zeros(len(codes), np.bool_)
    gap[ends] = True
    owner = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    owners, numbers = list[Places](), list[Numbers]()
    for size in PIECES:
        count = len(codes) - size + 1
        if count <= 0:
            break
        made, broken = codes[:count].copy(), np.zeros(count, np.bool_)
        for at in range(1, size):
            made += codes[at : at + count] * _POWERS[at]
            if at < size - 1:
                broken |= gap[at : at + count]
        whole = np.flatnonzero(~broken)
        owners.append(owner[whole])
        numbers.append(made[whole] * np.uint32(2 * size + 1) + np.uint32(size))
    return np.concatenate(owners), np.concatenate(numbers)


def _mixed(numbers: Numbers) -> Numbers:
    numbers = numbers * _GOLDEN
    numbers ^= numbers >> np.uint32(15)
    return numbers * _MIX


def _number(hashes: Numbers) -> Numbers:
    return _mixed(hashes) >> np.uint32(32 - BITS)
