"""Finds the word somebody meant."""

from __future__ import annotations

from collections.abc import Iterable

_PART = 3
"""The beginning of a word is taken for it from so many letters on."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a known word is near, otherwise `; known: …`."""
    import difflib  # noqa: PLC0415 - only the road of errors pays for it

    names = sorted(known)
    folded = {name.lower(): name for name in names}
    meant = word[:64].lower().replace("-", "_")
    near = difflib.get_close_matches(meant, folded, n=1, cutoff=0.6)
    near += [name for name in folded if len(meant) >= _PART and name.startswith(meant)]
    return f"; did you mean {folded[near[0]]!r}?" if near else f"; known: {', '.join(names)}"
