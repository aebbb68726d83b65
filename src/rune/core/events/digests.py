"""Which event ids a store has seen, without an index that every insert would have to touch in another place.

The newest digests are in a dict. Every so many events they are sorted and written in one go as a
segment; 256 segments share a filter in memory that says "surely not" for all but one in ten thousand.
Only when a filter says "perhaps" are its segments looked at, and only a row that is found is a duplicate.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from struct import pack, unpack
from sys import byteorder

SEGMENT = 4_096
"""Digests that are written together: those who wait for the writer meanwhile wait for some milliseconds."""

SLICE = 256
"""Digests of one row."""

GENERATION = 256
"""Segments that share a filter."""

BITS = 25
"""A filter has 2**25 bits, 32 for each of its digests."""

PATTERNS: Sequence[int] = tuple(
    1 << (one & 63) | 1 << (two & 63) | 1 << (three & 63)
    for one, two, three in (blake2b(number.to_bytes(2), digest_size=3).digest() for number in range(1 << 12))
)
"""Words with three bits, or fewer where they meet. Saved filters are made of them: they never change."""
LAST = len(PATTERNS) - 1


def slices(tail: Mapping[int, int]) -> Iterator[tuple[int, bytes, bytes]]:
    """Rows with the digests in their order: the last of the row, all of them, and the ids that have them."""
    marks = sorted(tail)
    for start in range(0, len(marks), SLICE):
        piece = marks[start : start + SLICE]
        form = f"<{len(piece)}q"
        yield piece[-1], pack(form, *piece), pack(form, *map(tail.__getitem__, piece))


def unpacked(numbers: bytes) -> tuple[int, ...]:
    """The digests, or the ids, of a row."""
    return unpack(f"<{len(numbers) // 8}q", numbers)


def held(mark: int, marks: bytes, ids: bytes) -> list[int]:
    """The id that has this digest in a row, if one has."""
    found = unpacked(marks)
    place = bisect_left(found, mark)
    return [unpacked(ids)[place]] if place < len(found) and found[place] == mark else []


class Filters:
    """The filters of all generations that still have segments: a digest has three bits in each of two words.

    Every event passes through here, and two words cost half of what bits all over the filter would.
    """

    def __init__(self, bits: int) -> None:
        self._size = 1 << (bits - 6)
        self._mask = self._size - 1
        self._words: dict[int, array[int]] = {}

    def add(self, generation: int, digests: Iterable[int]) -> None:
        """Take the digests of a segment in."""
        mask, patterns = self._mask, PATTERNS
        words = self._words.get(generation)
        if words is None:
            words = self._words[generation] = array("Q", bytes(8 * self._size))
        for digest in digests:
            words[digest & mask] |= patterns[digest >> 51]
            words[digest >> 20 & mask] |= patterns[digest >> 39 & LAST]

    def load(self, generation: int, bits: bytes) -> None:
        """Take in a filter that was saved."""
        self._words[generation] = _ordered(array("Q", bits))

    def bits(self, generation: int) -> bytes:
        """A filter to save."""
        return _ordered(self._words[generation][:]).tobytes()

    def drop(self, generation: int) -> None:
        """Forget a generation whose segments are gone."""
        self._words.pop(generation, None)

    def perhaps(self, digest: int) -> list[int]:
        """The generations that may hold a digest."""
        return [generation for generation, words in self._words.items() if self._may_hold(words, digest)]

    def suspects(self, digests: Sequence[int]) -> set[int]:
        """Those of many digests that some generation may hold. The first word settles a hundred of 101."""
        mask, patterns = self._mask, PATTERNS
        found: set[int] = set()
        for words in self._words.values():
            hits = [digest for digest in digests if not ~words[digest & mask] & patterns[digest >> 51]]
            found.update(digest for digest in hits if self._may_hold(words, digest))
        return found

    def _may_hold(self, words: array[int], digest: int) -> bool:
        one, two = PATTERNS[digest >> 51], PATTERNS[digest >> 39 & LAST]
        mask = self._mask
        return words[digest & mask] & one == one and words[digest >> 20 & mask] & two == two


def _ordered(words: array[int]) -> array[int]:
    """As they are saved, whatever the order of this machine's bytes."""
    if byteorder == "big":
        words.byteswap()
    return words
