"""Other readings of a text: folded, joined, decoded. Each is a `View` whose offsets map back to the text.

A view is made only when its shape occurs in the text (`engine.SHAPES`), and views together are bounded, so
that ordinary text costs nothing and hostile text little.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from urllib.parse import unquote

from rune.policy.scanners.confusables import CONFUSABLES, INVISIBLE
from rune.policy.scanners.invisible import SMUGGLED

MAX_VIEWED = 32_000
"""Characters that all views of one text may have together."""
MAX_TOKENS = 6_400
"""Long tokens that are tried; a text of 128,000 characters cannot hold more."""
READABLE = 0.85


class View:
    """One reading of a text, made of pieces that each stand for a span of the original."""

    __slots__ = ("_lengths", "_origins", "_parts", "_spans", "_starts", "changed", "name", "size")

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.changed = 0
        """Characters of the original that read differently here."""
        self._parts: list[str] = []
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._spans: list[int] = []
        self._lengths: list[int] = []

    def add(self, text: str, origin: int, span: int) -> None:
        """Appends a piece that stands for `span` characters of the original from `origin`."""
        if not text:
            self.changed += span
            return
        self._parts.append(text)
        self._starts.append(self.size)
        self._origins.append(origin)
        self._spans.append(span)
        self._lengths.append(len(text))
        self.size += len(text)

    @property
    def text(self) -> str:
        """The reading as one string."""
        return "".join(self._parts)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a span of this view stands for."""
        return self._place(start, last=False), max(
            self._place(end - 1, last=True), self._place(start, last=False)
        )

    def _place(self, at: int, *, last: bool) -> int:
        piece = max(bisect_right(self._starts, at) - 1, 0)
        origin, span = self._origins[piece], self._spans[piece]
        if span == self._lengths[piece]:
            return origin + (at - self._starts[piece]) + last
        return origin + span if last else origin


SPACES = dict.fromkeys(map(ord, "\x85\u2028\u2029\u1160\u2800"), " ")
"""Line ends and blanks that a reader sees as a gap; Hangul fillers are U+1160 after NFKC."""


def views(text: str, shapes: set[str]) -> Iterator[View]:
    """The readings of a text that its shapes and characters call for, cheapest first, within the bound."""
    room = MAX_VIEWED
    for make in _makers(text, shapes):
        # Those that take out a few words may look for them everywhere: filler must not hide them.
        view = make(text if make in {hidden, decoded} else text[:room])
        if view is None or not view.changed:
            continue
        yield view
        room -= view.size
        if room <= 0:
            return


def _makers(text: str, shapes: set[str]) -> Iterator[Callable[[str], View | None]]:
    if not text.isascii():
        yield hidden
        yield folded
    for shape, makers in _BY_SHAPE.items():
        if shape in shapes:
            yield from makers


def folded(text: str) -> View:
    """NFKC, invisible characters dropped; beside Latin letters, lookalikes and accents made plain."""
    view, at = View("folded"), 0
    table = latin_table() if _LATIN.search(text) else SPACES
    for gap in _GAPS.finditer(text):
        _fold(view, text[at : gap.start()], at, table=table)
        view.add("", gap.start(), len(gap[0]))
        at = gap.end()
    _fold(view, text[at:], at, table=table)
    return view


def _fold(view: View, part: str, origin: int, *, table: dict[int, str] | None) -> None:
    plain = part if unicodedata.is_normalized("NFKC", part) else unicodedata.normalize("NFKC", part)
    if len(plain) == len(part):
        plain = plain.translate(table) if table else plain
        view.changed += plain != part
        view.add(plain, origin, len(part))
        return
    for offset, char in enumerate(part):
        plain = unicodedata.normalize("NFKC", char)
        plain = plain.translate(table) if table else plain
        view.changed += plain != char
        view.add(plain, origin + offset, 1)


@cache
def latin_table() -> dict[int, str]:
    """Lookalikes and accented Latin letters, each with the plain letter it stands for."""
    table = {**CONFUSABLES, **SPACES}
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        plain = unicodedata.normalize("NFD", chr(code))[0]
        if plain.isascii() and code not in table:
            table[code] = plain
    return table


def hidden(text: str) -> View | None:
    """What tag characters and variation selectors spell: text that no reader sees."""
    view = View("hidden")
    for run in SMUGGLED.finditer(text):
        plain = "".join(map(_smuggled, run[0]))
        if _readable(plain):
            view.add(plain + "\n", run.start(), len(run[0]))
            view.changed += len(run[0])
    return view


def _smuggled(char: str) -> str:
    code = ord(char)
    if 0xE0000 <= code <= 0xE007F:
        return chr(code - 0xE0000)
    return chr(code - 0xFE00) if code <= 0xFE0F else chr(code - 0xE0100 + 16)


def unescaped(text: str) -> View:
    """HTML entities, percent codes and backslash escapes read as the characters they stand for."""
    view, at = View("unescaped"), 0
    for run in _ESCAPES.finditer(text):
        plain = _unescape(run[0])
        if plain == run[0]:
            continue
        view.add(text[at : run.start()], at, run.start() - at)
        view.add(plain, run.start(), len(run[0]))
        view.changed += len(run[0])
        at = run.end()
    view.add(text[at:], at, len(text) - at)
    return view


def _unescape(run: str) -> str:
    if run[0] == "&":
        import html  # noqa: PLC0415 - its table of entities is large, and most texts have none

        return html.unescape(run)
    if run[0] == "%":
        return unquote(run, errors="replace")
    return re.sub(r"\\(?:u00|x)([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), run)


def printable(text: str) -> View:
    """Control characters as spaces; gone where they stand after every letter (UTF-16) or colour a text."""
    view, at = View("printable"), 0
    for run in _CONTROLS.finditer(text):
        view.add(text[at : run.start()], at, run.start() - at)
        letters = run[0][::2] if len(run[0]) > 1 and run.lastgroup == "wide" else ""
        view.add(letters if run.lastgroup else " ", run.start(), len(run[0]))
        view.changed += len(run[0])
        at = run.end()
    view.add(text[at:], at, len(text) - at)
    return view


def leet(text: str) -> View:
    """Words that mix letters and digits, with the digits read as the letters they resemble."""
    view, at = View("leet"), 0
    for word in _LEET_WORD.finditer(text):
        plain = word[0].translate(_LEET)
        if plain == word[0]:
            continue
        view.add(text[at : word.start()], at, word.start() - at)
        view.add(plain, word.start(), len(word[0]))
        view.changed += 1
        at = word.end()
    view.add(text[at:], at, len(text) - at)
    return view


def joined(text: str) -> View:
    """Letters that stand apart, drawn together; wider gaps between them are kept as gaps."""
    view = View("joined")
    for run in _SPACED.finditer(text):
        for letter in _LETTER.finditer(run[0]):
            at = run.start() + letter.start()
            view.add(letter[1], at, 1)
            if letter[2] and len(letter[2]) > 1:
                view.add(" ", at + 1, len(letter[2]))
        view.add("\n", run.end() - 1, 1)
        view.changed += len(run[0])
    return view


def rot13(text: str) -> View:
    """The whole text turned by thirteen letters."""
    return _whole("rot13", codecs.encode(text, "rot13"))


def backwards(text: str) -> View:
    """The whole text read from its end; offsets name the whole text."""
    view = View("reversed")
    view.add(text[::-1] + " ", 0, len(text))
    view.changed = len(text)
    return view


def decoded(text: str) -> View:
    """Long tokens that are base64 or hex of readable text, each on a line of its own."""
    view = View("decoded")
    for count, token in enumerate(_TOKENS.finditer(text)):
        if count >= MAX_TOKENS or view.size > MAX_VIEWED:
            break
        plain = _decode(token[0])
        if plain:
            view.add(plain + " \n", token.start(), len(token[0]))
            view.changed += len(token[0])
    return view


def _decode(token: str) -> str | None:
    body = token.rstrip("=")
    for attempt in (_from_hex, _from_base64):
        raw = attempt(body)
        if raw is None:
            continue
        try:
            plain = raw.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if _readable(plain):
            return plain
    return None


def _from_hex(token: str) -> bytes | None:
    try:
        return bytes.fromhex(token)
    except ValueError:
        return None


def _from_base64(token: str) -> bytes | None:
    plain = token.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return None


def _readable(text: str) -> bool:
    good = sum(char.isalnum() or char in " \n\t.,:;!?'\"-/()" for char in text)
    return len(text) >= 4 and good >= READABLE * len(text)


def _whole(name: str, reading: str) -> View:
    view = View(name)
    view.add(reading, 0, len(reading))
    view.changed = len(reading)
    return view


_LATIN = re.compile(r"[A-Za-z]")
_GAPS = re.compile(f"(?:(?![\u3164\uffa0]){INVISIBLE.pattern}|[\u0300-\u036f])+")
_ESCAPES = re.compile(
    r"&(?:#[xX]?[0-9a-fA-F]{2,6}|[A-Za-z]{2,8});|(?:%[0-9a-fA-F]{2})+|(?:\\(?:u00|x)[0-9a-fA-F]{2})+"
)
_CONTROL = r"[\x00-\x08\x0b\x0e-\x1f\x7f]"
_CONTROLS = re.compile(
    rf"(?P<wide>(?:[^\x00-\x1f\x7f]{_CONTROL}){{4,}})|(?P<gone>\x1b\[[0-9;?]*[A-Za-z]|[^\n]\x08)|{_CONTROL}"
)
_LEET = str.maketrans("013457@$!|", "oieastasil")
_LEET_WORD = re.compile(
    r"[A-Za-z0-9@$!|]*[A-Za-z][013457@$!|][A-Za-z0-9@$!|]*|[013457@$][A-Za-z][A-Za-z0-9@$!|]*"
)
_SPACED = re.compile(r"(?<![^\W_])(?:[^\W\d_][ ._*|~/\-]{1,3}){4,}[^\W\d_](?![^\W_])")
_LETTER = re.compile(r"([^\W\d_])([ ._*|~/\-]*)")
_TOKENS = re.compile(r"[A-Za-z0-9+/_\-]{20,}={0,2}")

_BY_SHAPE: dict[str, tuple[Callable[[str], View | None], ...]] = {
    "<control>": (printable,),
    "<entity>": (unescaped,),
    "<percent>": (unescaped,),
    "<escape>": (unescaped,),
    "<token>": (decoded,),
    "<spaced>": (joined,),
    "<leet>": (leet,),
    "<rot13>": (rot13,),
    "<reversed>": (backwards,),
}
