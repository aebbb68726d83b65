"""Which rules the keywords of a text open, worked out with a few operations on large integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class Openers:
    """Which rules a set of keywords opens: those of which each group has a keyword in the set.

    A rule is one bit in as many planes as a rule may have groups; a keyword sets the bits of its groups.
    """

    def __init__(self, rules: Sequence[Sequence[frozenset[int]]], words: int) -> None:
        self._width = len(rules)
        self._all = (1 << self._width) - 1
        self._planes = max((len(groups) for groups in rules), default=0)
        self._bits = [0] * words
        self._rules = [0] * words
        self._given = self._always = 0
        for number, groups in enumerate(rules):
            for plane, group in enumerate(groups):
                for word in group:
                    self._bits[word] |= 1 << (plane * self._width + number)
                    self._rules[word] |= 1 << number
            for plane in range(len(groups), self._planes):
                self._given |= 1 << (plane * self._width + number)
            self._always |= 0 if groups else 1 << number

    def opened(self, words: Iterable[int], wanted: int) -> Iterator[int]:
        """The numbers of the rules, those without keywords first, then in the order of their words."""
        bits, known = self._given, self._bits
        for word in words:
            bits |= known[word]
        left = wanted & self._all
        for plane in range(self._planes):
            left &= bits >> (plane * self._width)
        yield from _numbers(left & self._always)
        left &= ~self._always
        for word in words:
            here = left & self._rules[word]
            if here:
                left ^= here
                yield from _numbers(here)


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
