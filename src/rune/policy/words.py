"""Finds the word somebody meant."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a known word is near, otherwise `; known: …`."""
    import difflib  # noqa: PLC0415 - only the road of errors pays for it

    names = sorted(known)
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word[:64].lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]!r}?" if near else f"; known: {', '.join(names)}"
