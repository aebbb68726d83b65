"""Judges what servers say of their tools: orders to the model (poisoning), and tools that speak of others'.

Pure: texts go in, reasons come out. Whether a definition changed is the business of `pins.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple

from rune.policy.scanners.finding import BLOCK_AT, Finding, risk_score
from rune.policy.scanners.normalize import folded
from rune.policy.scanners.patterns import PatternScanner
from rune.policy.scanners.rules import load_rules
from rune.toolbox.definitions import Json, TooLarge, name_of, prose, texts

Kind = Literal["poisoning", "shadowing", "same-name", "changed"]
MOST_NAME = 128
NEAR = 160
"""Characters around another tool's name in which an order concerns it."""
_ORDER = re.compile(
    r"\b(?:must|always|never|instead|whenever|before|after|change[sd]?|replace[sd]?|redirect(?:s|ed)?|ignored?|"
    r"disabled?|ha(?:s|ve) to|do not|don't|only through|on behalf|take over|intercept|bcc|recipient|"
    r"set the)\b",
    re.IGNORECASE,
)
_DISTINCT = re.compile(r"(?=.{5,})(?:[A-Za-z0-9]+[_\-.][A-Za-z0-9_\-.]+|[a-z]+[A-Z]\w*)")
"""A name that is no ordinary word: `send_email`, `sendEmail`; `search` is none."""


class Suspicion(NamedTuple):
    """One reason for not trusting a definition."""

    kind: Kind
    rule: str
    why: str
    risk: float = 1.0

    @property
    def blocks(self) -> bool:
        """The tool is kept back; otherwise it is only told."""
        return self.kind != "same-name"


def judge(
    definition: Json, *, others: Mapping[str, Collection[str]], own: Collection[str]
) -> list[Suspicion]:
    """What is wrong with a tool, a prompt or a resource as a server lists it.

    `others` are the tools of other servers by the server's name, `own` the names of this server's.
    """
    if not isinstance(definition, dict):
        return [Suspicion("poisoning", "not-a-definition", "it is not an object")]
    name = name_of(definition)
    try:
        found = texts(definition)  # pyright: ignore[reportUnknownArgumentType] - JSON
    except TooLarge as error:
        return [Suspicion("poisoning", "too-large", str(error))]
    text = prose(found)
    return [*_name(name), *poisoned(text), *_shadows(name, text, others=others, own=own)]


def poisoned(text: str) -> list[Suspicion]:
    """Orders to the model in a text that a server gives before anybody asked it anything."""
    findings = [*_builtin().scan(text, direction="input", source="tool", tool="description")]
    findings += _own().scan(text, direction="input", source="tool", tool="description")
    risk = risk_score(findings)
    if risk < BLOCK_AT:
        return []
    worst = max(findings, key=lambda each: each.weight)
    return [Suspicion("poisoning", worst.rule, _why(worst, text), risk)]


def _why(finding: Finding, text: str) -> str:
    line = text.count("\n", 0, finding.start) + 1
    return f"{finding.explanation} (line {line} of its texts)"


def _name(name: str) -> Iterable[Suspicion]:
    if not name:
        yield Suspicion("poisoning", "no-name", "it has no name")
    elif len(name) > MOST_NAME:
        yield Suspicion("poisoning", "long-name", f"its name has more than {MOST_NAME} characters")
    elif not name.isprintable():
        yield Suspicion("poisoning", "invisible-name", "its name holds characters that nobody sees")
    elif not name.isascii() and folded(name).text.isascii():
        yield Suspicion("shadowing", "look-alike-name", f"its name only looks like {folded(name).text!r}")


def _shadows(
    name: str, text: str, *, others: Mapping[str, Collection[str]], own: Collection[str]
) -> Iterable[Suspicion]:
    for server, names in others.items():
        if name in names:
            yield Suspicion("same-name", "same-name", f"the server {server!r} has a tool of this name too")
        for other in names:
            if other not in own and _DISTINCT.fullmatch(other) and _orders(text, other):
                why = f"it gives orders about {other!r}, a tool of the server {server!r}"
                yield Suspicion("shadowing", "speaks-of-another", why)


def _orders(text: str, other: str) -> bool:
    for match in re.finditer(rf"(?<![\w-]){re.escape(other)}(?![\w-])", text, re.IGNORECASE):
        if _ORDER.search(text, max(0, match.start() - NEAR), match.end() + NEAR):
            return True
    return False


@cache
def _builtin() -> PatternScanner:
    return PatternScanner()


@cache
def _own() -> PatternScanner:
    with resources.as_file(resources.files("rune.toolbox") / "rules.yaml") as path:
        return PatternScanner(load_rules(path))


def warm() -> None:
    """Builds the scanners, which takes a quarter of a second the first time."""
    poisoned("warm")
