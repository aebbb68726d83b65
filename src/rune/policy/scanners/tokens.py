"""Cuts a text into the tokens that L2 reads. Training and scanning both use this module.

A token is a word, one character of a script without spaces, a run of one mark of punctuation, or line breaks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from rune.policy.scanners.confusables import INVISIBLE
from rune.policy.scanners.normalize import latin_table

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
    """The token as it is hashed, maybe empty: in small letters, lookalikes among Latin ones made plain."""
    if token.isascii():
        word = token.lower()
    else:
        word = unicodedata.normalize("NFKC", INVISIBLE.sub("", token)).lower()
        if _ASCII.search(word) and _OTHER.search(word):
            word = word.translate(latin_table())
    if word[:1].isspace():
        return "\n"
    return word[:LONGEST] if word[:1].isalnum() or word[:1] == "_" else word[:RUN]
