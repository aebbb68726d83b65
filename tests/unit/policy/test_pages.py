"""The pages about policies say what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from rune.errors import InvalidArgument
from rune.policy.document import parse
from rune.policy.model import PATTERNS, RULE_TYPES, SCANNERS, SOURCES, ActionName

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference" / "policies.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "write-a-policy.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("text", [*blocks(REFERENCE, "yaml"), *blocks(HOW_TO, "yaml")])
def test_every_policy_on_the_pages_is_one(text: str) -> None:
    assert parse(text).rules


def test_the_program_on_the_page_runs() -> None:
    (program,) = blocks(HOW_TO, "python")
    exec(compile(program, "write-a-policy.md", "exec"), {})  # noqa: S102 - our own page


def test_the_error_on_the_page_is_what_is_said() -> None:
    text = 'version: "1.0"\nrules:\n  - {name: inj, scanner: promt_injection}\n'
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    assert caught.value.message in blocks(HOW_TO, "text")[0]


def test_every_word_of_the_language_is_in_the_reference() -> None:
    words = {*SCANNERS, *RULE_TYPES, *PATTERNS, *SOURCES, *get_args(ActionName)}
    assert {word for word in words if f"`{word}`" not in REFERENCE and f": {word}`" not in REFERENCE} == set()
