"""Compares names of tools and agents with the globs of a policy.

What a rule allows must be written exactly; what it restricts is meant in any case and width of letters.
So no spelling of a name can slip past a rule, and none can slip into a list of what is allowed.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable

MAX_GLOB = 256
_SPECIAL = re.compile(r"[*?\[]")


def folded(name: str) -> str:
    """The name without differences of case, width and surrounding space."""
    return name.lower() if name.isascii() and name.isidentifier() else _folded(name)


def _folded(name: str) -> str:
    visible = "".join(
        c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) not in {"Cf", "Cc"}
    )
    return visible.casefold().strip()


class Names:
    """A set of names and globs (`*`, `?`, `[abc]`) that answers whether a name is in it."""

    __slots__ = ("_exact", "_others", "_prefixes")

    def __init__(self, globs: Iterable[str], *, exactly: bool) -> None:
        """`exactly` compares as written; otherwise both sides are folded."""
        known = [glob if exactly else _folded(glob) for glob in globs]
        self._exact = frozenset(glob for glob in known if not _SPECIAL.search(glob))
        starts = [glob[:-1] for glob in known if glob.endswith("*") and not _SPECIAL.search(glob[:-1])]
        self._prefixes = tuple(starts)
        rest = [
            fnmatch.translate(glob) for glob in known if _SPECIAL.search(glob) and glob[:-1] not in starts
        ]
        self._others = re.compile("|".join(rest)).match if rest else None

    def __contains__(self, name: str) -> bool:
        """Whether a name, folded by the caller unless the set is exact, is in the set."""
        if name in self._exact or name.startswith(self._prefixes):
            return True
        return self._others is not None and self._others(name) is not None
