"""Talk about an attack is not an attack: what around a match says quotation, question or code.

Each discount is a factor on the confidence and a name for the explanation. They are read only where a
rule has matched, so they may look closely.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BEFORE = 400
AFTER = 400
INTRODUCED = 10
"""Characters that must stand before a quotation: a text that is one quotation is no talk about it."""
FLOOR = 0.12
"""However many discounts apply, this much of the confidence stays."""


def discounts(text: str, start: int, end: int) -> Iterator[tuple[str, float]]:
    """The discounts that apply to a match at these characters of lower-cased text, as (name, factor)."""
    while start < end and not text[start].isalnum():
        start += 1  # a rule that wants a border may match the very mark that opens a quotation
    before, after = text[max(0, start - BEFORE) : start], text[end : end + AFTER]
    sentence = _SENTENCE_END.split(before[-160:])[-1]
    if _NEGATION.search(sentence[-48:]):
        yield "negated", 0.25
    quotation = _quotation(before, after, introduced=start > BEFORE)
    intro = sentence if quotation is None else before[:quotation]
    reported = _REPORTED.search(intro[-60:]) is not None
    if quotation is not None and reported:
        yield "quoted as an example", 0.2
    elif quotation is not None:
        yield "quoted", 0.3
    elif reported:
        yield "reported", 0.5
    if _asked(_SENTENCE_END.split(intro[-160:])[-1], after):
        yield "asked about", 0.35
    if _in_code(text, start, before=before) or (
        quotation is not None and _CODE_NEAR.search(before + "\n" + after)
    ):
        yield "in code", 0.4
    if (
        _DOCUMENTATION.search(before)
        or _DOCUMENTATION.search(after)
        or _DOCUMENTATION.search(text[start:end])
    ):
        yield "documentation about attacks", 0.35


def discounted(confidence: float, found: list[tuple[str, float]]) -> float:
    """The confidence after discounts, never below the floor's share of it."""
    factor = 1.0
    for _, each in found:
        factor *= each
    return round(confidence * max(factor, FLOOR), 4)


def _quotation(before: str, after: str, *, introduced: bool) -> int | None:
    """Where the quotation around a match begins within `before`, if something introduces it."""
    line = before.rfind("\n") + 1
    if before[line:].lstrip().startswith(">"):
        return line
    if before.count('"""') % 2 and '"""' in after:
        return before.rfind('"""')
    for opening in reversed(list(_OPENING.finditer(before))):
        if opening.start() < INTRODUCED and not introduced:
            return None
        closing = _CLOSING[opening[1]]
        if closing.search(before, opening.end()) is None and closing.search(after) is not None:
            return opening.start()
    return None


def _asked(sentence: str, after: str) -> bool:
    end = _SENTENCE_END.search(after)
    question = end is not None and end[0].startswith(("?", "？"))
    return _ASKING.match(sentence.strip(_EDGES)) is not None and (
        question or _ABOUT.search(sentence) is not None
    )


def _in_code(text: str, start: int, *, before: str) -> bool:
    if text.count("```", 0, start) % 2 and "```" in text[start:]:
        return True
    line = before.rsplit("\n", 1)[-1]
    return _CODE_LINE.match(line) is not None


_EDGES = " \t\r\n\"'*_#>-"
_SENTENCE_END = re.compile(r"[?？][\"'”]?(?:\s|$)|[.!;。！](?:\s|$)|\n")
_OPENING = re.compile(r"""(?:^|(?<=[\s(\[{=:,>*]))(["'\x60“«„‘「])["'\x60]{0,2}(?=\S|$)""")
_PARTNERS = {'"': '"', "'": "'", "`": "`", "“": "”", "«": "»", "„": "“", "‘": "’", "「": "」"}
_CLOSING = {one: re.compile(rf"{two}(?=[\s.,;:!?)\]}}<{two}]|$)") for one, two in _PARTNERS.items()}
_CODE_NEAR = re.compile(
    r"\bdef \w+\(|\bassert\b|^import \w|\bfunction \w+\(|\b(?:const|let|var) \w+ ?=|#include|^\s*return |"
    r"\w = [\[{(\"']|"
    r"\w=(?:\"|')|^\d{4}-\d\d-\d\d[ t]|\b(?:warn|info|debug|error)\b[ :\]]",
    re.MULTILINE,
)
_NEGATION = re.compile(
    r"\b(?:do not|don't|dont|never|must not|mustn't|should not|shouldn't|cannot|can't|can not|won't|"
    r"will not|"
    r"not to|refuse[sd]? to|without|unable to|impossible to|not allowed to|forbidden to|no need to|"
    r"nobody can|"
    r"avoid|rather than|instead of|prevent[s]? \w+ from|nicht|niemals|ne (?:\w+ )?(?:pas|jamais)|"
    r"n['’]\w+ (?:pas|jamais)|il faut pas|nunca|jamás|não|non|niet|nie|не|никогда)"
    r"(?:[ ,]+(?!and\b|but\b|then\b|und\b|et\b|y\b)\w+){0,2}[ ,]*$"
)
_REPORTED = re.compile(
    r"\b(?:says?|said|saying|called|calls|named|titled|like|such as|e\.g\.?|for example|for instance|"
    r"example|examples|phrases?|"
    r"strings?|words?|texts? (?:reads?|like)|reads?|writes?|wrote|contain(?:s|ing)?|include[sd]?|"
    r"including|attempts?(?: to)?|tries|trying to|"
    r"try to|tried to|attack(?:s|ers?)?|users? (?:may|might|could|can|who)|someone|people|hackers?|"
    r"injects?|instructs?|instructed|asks?|asked|"
    r"tells?|told|could|would|might|which|that|whether|if an?|when an?|wie etwa|zum beispiel|par exemple|"
    r"por ejemplo)\b[^.!?\n]{0,40}$"
)
_ASKING = re.compile(
    r"(?:what|why|how|when|who|which|where|is|are|does|do|did|can|could|should|would|explain|describe|"
    r"define|discuss|"
    r"was|warum|wie|pourquoi|comment|qué|por qué|cómo|che cosa|perché|come|o que|como|what's|whats|"
    r"tell me (?:about|what|why|how))\b"
)
_ABOUT = re.compile(
    r"\b(?:mean|means|meaning|work|works|prevent|detect|defend|protect|stop|mitigate|recogni[sz]e|explain|"
    r"difference|happens?|"
    r"called|famous|history|define|describe|attackers?|bedeutet|signifie|significa)\b"
)
_CODE_LINE = re.compile(
    r"\s*(?:#|//|/\*|\* |--|;;|<!--|\$ |>>> |\+ |- |\||assert\b|def |class |return\b|const |let |var |"
    r"import |from |if |for |raise |throw |"
    r"print\(|log|test|it\(|expect|[a-z_][\w.\[\]]*\s*(?::\s*\w+\s*)?(?:=|\+=|:=)|"
    r"[\"']?[\w-]+[\"']?\s*:\s*[\[{\"']|[\w.]+\()"
    r"[^\n]*[\"'`(\[]"
)
_DOCUMENTATION = re.compile(
    r"\b(?:prompt[ -]injections?|injection (?:attacks?|attempts?|payloads?)|jailbreak(?:s|ing|"
    r"ers?)?\b(?! mode)|red[ -]team(?:ing|ers?)?|"
    r"attackers?|adversar(?:y|ies|ial)|malicious|vulnerabilit(?:y|ies)|exploits?|owasp|cve-\d+|"
    r"mitigations?|guardrails?|detect(?:s|ed|ion|or|ors|ing)?|"
    r"classifiers?|scanners?|payloads?|threat models?|security (?:research\w*|team|training|polic\w+|"
    r"review|awareness)|phishing|blocklist|"
    r"false positives?|regex|unit tests?|angreifer|attaquants?|atacantes?)\b"
)
