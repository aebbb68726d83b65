"""Finds what a text quotes, and whether the rest of it is talk about attacks or code that tests for them.

L2 scores a text once more without its quotations: where the rest is calm, the attack is quoted; where the
rest speaks of attacks besides, it is an example.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Kind(NamedTuple):
    """A discount: how much it leaves of the confidence in the whole, and of that in what is not quoted.

    The second counts only where a quotation itself reads like an attack, so that none is a disguise.
    """

    name: str
    quoted: float
    rest: float


TALK = Kind("quoted in talk about attacks", quoted=0.2, rest=0.6)
QUOTED = Kind("what speaks for it is quoted", quoted=0.45, rest=0.8)
LONGEST = 800
"""Characters of a quotation; the text between two marks further apart is not one."""


def left_out(text: str) -> str:
    """The text with a blank in the place of each quotation."""
    return _QUOTATION.sub(" ", text)


def only(text: str) -> str:
    """The quotations alone, a line for each."""
    return "\n".join(found[0] for found in _QUOTATION.finditer(text))


def is_talk(rest: str) -> bool:
    """Whether a text, in small letters and without what it quotes, speaks of attacks, or is code or a log."""
    return _TALK.search(rest) is not None


def _between(opening: str, closing: str) -> str:
    return rf"{opening}[^{closing}\n]{{8,{LONGEST}}}[{closing}]"


_QUOTATION = re.compile(
    "|".join(
        (
            rf"(?<!\w)\"(?:[^\"\\\n]|\\.){{8,{LONGEST}}}\"",
            rf"(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w)){{8,{LONGEST}}}'(?!\w)",
            _between("“", "”"),
            _between("„", "“”"),
            _between("«", "»"),
            _between("「", "」"),
            _between("`", "`"),
            rf"^[ \t]*> [^\n]{{8,{LONGEST}}}",
        )
    ),
    re.MULTILINE,
)
_TALK = re.compile(
    # attacks, and those who watch for them
    r"\b(?:attack\w*|inject\w+|jailbr\w+|hostile|manipulat\w+|phishing|malicious|suspicious|harmless|trick\w*|"
    r"false (?:alarm|positive)s?|block(?:ed|s|list)|flag(?:ged|s)|refus(?:ed|al)|reject(?:ed|s)|detect\w*|"
    r"filter(?:ed|s)?|classif\w+|incident|finding|severity|scanner|guardrails?|payloads?|verdict|"
    r"red[ -]team\w*|penetration test|security|threat model|mitigation|"
    r"angriff\w*|vorfall|gemeldet|ataque\w*|incidente|seguridad|attaque\w*|signal[ée]e?s?|attacco|attacchi|"
    r"segnalat\w+|ataque|атак\w*|攻击|攻撃|공격)\b|"
    # tests, rules, logs
    r"\bassert\b|\bexpect\(|\bdef test_|@pytest|\bimport \w|^\s*(?:const|let|var) \w|"
    r"^\d{4}-\d\d-\d\d[t ]|^- id:|^\s*(?:examples|samples|label|expect)\b",
    re.MULTILINE,
)
