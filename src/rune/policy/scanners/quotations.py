"""Finds what a text quotes, and whether the rest of it is talk about attacks or code that tests for them.

L2 scores a text once more without its quotations: where the rest is calm and is such talk, the attack is quoted.
"""

from __future__ import annotations

import re

TALK, QUOTED = ("quoted in talk about attacks", 0.2), ("what speaks for it is quoted", 0.45)
"""What the discounts are called, and how much of a confidence they leave."""
LONGEST = 800
"""Characters of a quotation; the text between two marks further apart is not one."""


def left_out(text: str) -> str:
    """The text with a blank in the place of each quotation."""
    return _QUOTATION.sub(" ", text)


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
