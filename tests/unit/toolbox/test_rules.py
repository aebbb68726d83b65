"""The rules for descriptions of tools: their examples, and what must not be taken for orders."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
import yaml

from rune.toolbox.judge import judge, poisoned

RULES: list[Any] = yaml.safe_load((resources.files("rune.toolbox") / "rules.yaml").read_text("utf-8"))[
    "rules"
]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["id"]) for rule in RULES])
def test_a_rule_finds_its_examples_and_leaves_the_others(rule: Any) -> None:
    for text in rule["examples"]["match"]:
        assert rule["id"] in [found.rule for found in poisoned(text)] or poisoned(text), text
    for text in rule["examples"]["ignore"]:
        assert poisoned(text) == [], text


ODD: list[tuple[Any, str | None]] = [
    ("no object", "not-a-definition"),
    ({"description": "without a name"}, "no-name"),
    ({"name": "x" * 129}, "long-name"),
    ({"name": "a\u200bb"}, "invisible-name"),
    ({"name": "r\u0435ad"}, "look-alike-name"),
    ({"name": "deep", "inputSchema": [[[[[[[[]]]]]]]] * 6_000}, None),
    (
        {"name": "many", "inputSchema": {f"p{number}": {"type": "string"} for number in range(6_000)}},
        "too-large",
    ),
]


@pytest.mark.parametrize(("definition", "rule"), ODD)
def test_what_is_no_definition_is_kept_back(definition: Any, rule: str | None) -> None:
    found = judge(definition, others={}, own=())
    assert [each.rule for each in found] == ([rule] if rule else [])


def test_the_same_name_alone_is_told_and_not_kept_back() -> None:
    (found,) = judge(
        {"name": "search", "description": "Searches."}, others={"web": ["search"]}, own=["search"]
    )
    assert (found.kind, found.blocks) == ("same-name", False)


def test_ordinary_words_of_other_servers_are_no_tools_of_theirs() -> None:
    tool = {"name": "find", "description": "You must always search before you read."}
    assert judge(tool, others={"files": ["search", "read"]}, own=["find"]) == []


def test_a_servers_own_tools_may_be_spoken_of() -> None:
    tool = {"name": "read_file", "description": "Never use read_many before this one."}
    assert judge(tool, others={"files": ["read_many"]}, own=["read_file", "read_many"]) == []
