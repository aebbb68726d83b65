"""A template's text as words: what stands outside of double braces, and the words inside of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

OPEN = "{{"
_COMMENT = re.compile(r"\{\{(-\s)?/\*.*?\*/(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(
    r"""(?P<space>\s+)
    | (?P<close>-?\}\})
    | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<raw>`[^`]*`)
    | (?P<number>[-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?![A-Za-z0-9_.]))
    | (?P<field>\.[A-Za-z_][A-Za-z0-9_]*)
    | (?P<variable>\$[A-Za-z0-9_]*)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<define>:=)
    | (?P<mark>[.|(),=])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an action."""

    kind: str
    text: str
    offset: int
    is_apart: bool = True
    """A blank stands before it."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Text outside of actions, trimmed where `{{-` or `-}}` says so."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Action:
    """What stands between double braces."""

    tokens: tuple[Token, ...]
    offset: int
    wrong: tuple[int, str] | None = None
    """Where its words stop making sense, and why."""


def scan(text: str) -> Iterator[Plain | Action]:
    """The parts of the text in their order; comments are left out."""
    at, trims = 0, False
    while at <= len(text):
        found = text.find(OPEN, at)
        end = len(text) if found < 0 else found
        trims_end = found >= 0 and re.match(r"\{\{-\s", text[found : found + 4]) is not None
        yield from _plain(text, (at, end), trims=trims, trims_end=trims_end)
        if found < 0:
            return
        comment = _COMMENT.match(text, found)
        if comment:
            at, trims = comment.end(), comment[2] is not None
            continue
        action, at = _action(text, found, trims_end=trims_end)
        trims = text[at - 3 : at] == "-}}"
        yield action


def _plain(text: str, between: tuple[int, int], *, trims: bool, trims_end: bool) -> Iterator[Plain]:
    start, end = between
    shown = text[start:end]
    if trims:
        start += len(shown) - len(shown.lstrip())
        shown = shown.lstrip()
    if trims_end:
        shown = shown.rstrip()
    if shown:
        yield Plain(shown, start)


def _action(text: str, found: int, *, trims_end: bool) -> tuple[Action, int]:
    """The action that begins there, and where the text goes on."""
    at = found + len(OPEN) + trims_end
    tokens: list[Token] = []
    is_apart = True
    while True:
        match = _WORD.match(text, at)
        if not match:
            return _broken(text, found, at, tuple(tokens))
        kind, word = match.lastgroup or "", match[0]
        if kind == "close":
            return Action(tuple(tokens), found), match.end()
        if kind != "space":
            tokens.append(Token(kind, word, at, is_apart))
        is_apart = kind == "space"
        at = match.end()


def _broken(text: str, found: int, at: int, tokens: tuple[Token, ...]) -> tuple[Action, int]:  # noqa: PLR0917 - a place in a text takes that many
    """An action that cannot be read; the text goes on behind its braces, where there are some."""
    end = text.find("}}", at)
    if at >= len(text) or (end < 0 and text[at] not in "\"`'"):
        return Action(tokens, found, (found, "this action is not closed: }} is missing")), len(text)
    char = text[at]
    if char in '"`':
        why = "this text is not closed"
    elif char == "'":
        why = 'text stands in double quotes: "…"'
    elif char == "-":
        why = 'a key with a dash is read with index: {{ index .Values "my-key" }}'
    else:
        why = f"{char!r} has no meaning here"
    return Action(tokens, found, (at, why)), len(text) if end < 0 else end + 2
