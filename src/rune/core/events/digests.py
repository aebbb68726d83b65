"""Which event ids a store has seen, without an index that every insert would have to touch in another place.

The newest digests are in a dict. Every so many events they are sorted and written in one go as a
segment; 64 segments share a filter in memory that says "surely not" for all but one in a thousand.
Only when a filter says "perhaps" are its segments looked at, and only a row that is found is a duplicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEGMENT = 16_384
"""Digests that are written together."""

GENERATION = 64
"""Segments that share a filter."""

BITS = 25
"""A filter has 2**25 bits, 32 for each of its digests."""


class Filters:
    """The filters of all generations that still have segments. Each looks at three places for a digest."""

    def __init__(self, bits: int) -> None:
        self._size = 1 << bits
        self._mask = self._size - 1
        self._bits: dict[int, bytearray] = {}

    def add(self, generation: int, digests: Iterable[int]) -> None:
        """Take the digests of a segment in."""
        mask = self._mask
        bits = self._bits.setdefault(generation, bytearray(self._size >> 3))
        for digest in digests:
            one, two, three = digest & mask, (digest >> 19) & mask, (digest >> 38) & mask
            bits[one >> 3] |= 1 << (one & 7)
            bits[two >> 3] |= 1 << (two & 7)
            bits[three >> 3] |= 1 << (three & 7)

    def load(self, generation: int, bits: bytes) -> None:
        """Take in a filter that was saved."""
        self._bits[generation] = bytearray(bits)

    def bits(self, generation: int) -> bytes:
        """A filter to save."""
        return bytes(self._bits[generation])

    def drop(self, generation: int) -> None:
        """Forget a generation whose segments are gone."""
        self._bits.pop(generation, None)

    def perhaps(self, digest: int) -> list[int]:
        """The generations that may hold a digest."""
        return [generation for generation, bits in self._bits.items() if self._may_hold(bits, digest)]

    def suspects(self, digests: Sequence[int]) -> set[int]:
        """Those of many digests that some generation may hold. One look settles eleven of twelve."""
        mask = self._mask
        found: set[int] = set()
        for bits in self._bits.values():
            hits = [digest for digest in digests if bits[(digest & mask) >> 3] >> (digest & 7) & 1]
            found.update(digest for digest in hits if self._may_hold(bits, digest))
        return found

    def _may_hold(self, bits: bytearray, digest: int) -> bool:
        mask = self._mask
        one, two, three = digest & mask, (digest >> 19) & mask, (digest >> 38) & mask
        return bool(
            bits[one >> 3] >> (one & 7) & bits[two >> 3] >> (two & 7) & bits[three >> 3] >> (three & 7) & 1
        )
