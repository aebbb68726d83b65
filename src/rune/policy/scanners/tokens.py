"""Cuts a text into the tokens that L2 reads, and hashes them. Training and scanning both use this module.

A token is a word, one character of a script without spaces, a run of one mark of punctuation, or line breaks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from zlib import crc32

from rune.policy.scanners.confusables import INVISIBLE
from rune.policy.scanners.normalize import latin_table

ROWS = 1 << 17
"""Rows of the embedding table; row 0 is nothing at all."""
SLOTS = 12
"""Rows that one token adds up: the word's own, then those of pieces of it."""
LONGEST = 24
"""Characters of a word that are read; the rest of a longer one is not."""
RUN = 3
"""A mark that is repeated is told apart up to this often."""

_BARE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_TOKEN = re.compile(rf"[{_BARE}]|(?:(?![{_BARE}])[\w\u00ad\u200b-\u200f\u2060\ufeff])+|([^\w\s])\1*|\n\s*")
_ASCII = re.compile(r"[a-z]")
_OTHER = re.compile(r"[^\x00-\x7f]")


def cut(text: str) -> Iterator[tuple[str, int, int]]:
    """The tokens with their places in the text; every place is inside the text, in order, without overlap."""
    for found in _TOKEN.finditer(text):
        yield found[0], found.start(), found.end()


def plain(token: str) -> str:
    """The token as it is hashed: in small letters, with lookalikes beside Latin letters made plain."""
    if token.isascii():
        word = token.lower()
    else:
        word = unicodedata.normalize("NFKC", INVISIBLE.sub("", token)).lower()
        if _ASCII.search(word) and _OTHER.search(word):
            word = word.translate(latin_table())
    if word[:1].isspace():
        return "\n"
    return word[:LONGEST] if word[:1].isalnum() or word[:1] == "_" else word[:RUN]


def hashed(word: str) -> tuple[int, ...]:
    """The rows of a plain token: its own, then those of pieces of three and five letters, evenly chosen."""
    marked = f"<{word}>"
    own = crc32(marked.encode("utf-8", "replace"))
    rows = [own % (ROWS - 1) + 1]
    if len(word) > 2:
        pieces = [marked[i : i + n] for n in (3, 5) for i in range(len(marked) - n + 1)]
        step = -(-len(pieces) // (SLOTS - 1))
        rows += [crc32(piece.encode("utf-8", "replace"), 7) % (ROWS - 1) + 1 for piece in pieces[::step]]
    return tuple(rows)
