"""Compiling, the compiled form, and reading it back."""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

import msgspec
import pytest

from rune.errors import FailedPrecondition, InvalidArgument
from rune.policy.compile import CompiledPolicy, compile, load  # noqa: A004 - the word for it
from rune.policy.document import parse
from rune.policy.evaluate import ActivePolicy, Evaluator
from rune.policy.model import AnyRule, Scanner
from unit.policy.judging import active, call
from unit.policy.test_document import EXAMPLE


def compiled(text: str = EXAMPLE) -> CompiledPolicy:
    return compile(parse(text))


def resealed(**changes: object) -> bytes:
    """The example's compiled form with changes, under a hash that fits them."""
    form = msgspec.to_builtins(compiled()) | changes | {"content_hash": ""}
    content = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return json.dumps(form | {"content_hash": f"sha256:{hashlib.sha256(content).hexdigest()}"}).encode()


def test_the_compiled_form_is_plain_json_and_comes_back_the_same() -> None:
    policy = compiled()
    assert load(policy.to_json()) == policy
    assert load(json.loads(policy.to_json())) == policy
    assert load(policy.to_json().decode()) == policy


def test_the_hash_can_be_checked_with_any_json_library() -> None:
    assert load(resealed()) == compiled()


def test_equal_policies_have_equal_bytes_however_they_are_written() -> None:
    reordered = EXAMPLE.replace(
        'version: "1.0"\nname: production\n', 'name: production\nversion: "1.0"\n# a remark\n'
    )
    assert reordered != EXAMPLE
    assert compiled(reordered).to_json() == compiled().to_json()


def test_a_description_is_not_part_of_what_is_evaluated() -> None:
    described = EXAMPLE.replace(
        "    scanner: prompt_injection", "    scanner: prompt_injection\n    description: why"
    )
    assert compiled(described).content_hash == compiled().content_hash


def test_every_other_change_changes_the_hash() -> None:
    for old, new in (
        ("0.6", "0.7"),
        ("enforce", "monitor"),
        ("support-*", "sales-*"),
        ("[prod]", "[dev]"),
        ("50", "51"),
    ):
        assert compiled(EXAMPLE.replace(old, new)).content_hash != compiled().content_hash


def test_aliases_of_scanners_are_one_word_inside() -> None:
    rules = "rules: [{name: a, scanner: pii}, {name: b, scanner: pii_detection}, {name: c, scanner: secrets}]"
    scanners = [
        rule.scanner for rule in compiled(f'version: "1.0"\n{rules}').rules if isinstance(rule, Scanner)
    ]
    assert scanners == ["pii_exposure", "pii_exposure", "secret_exposure"]


def test_the_mcp_section_becomes_rules() -> None:
    names = [rule.name for rule in compiled().rules]
    assert names[-2:] == ["mcp.files.allowed_tools", "mcp.files.blocked_tools"]


def test_a_server_without_an_allowlist_has_no_rule_about_one() -> None:
    servers = "{a: {blocked_tools: [x]}, b: {allowed_tools: []}, c: {}}"
    names = [rule.name for rule in compiled(f'version: "1.0"\nmcp: {{servers: {servers}}}').rules]
    assert names == ["mcp.a.blocked_tools", "mcp.b.allowed_tools"]


def test_a_changed_byte_is_noticed() -> None:
    with pytest.raises(InvalidArgument, match="was changed"):
        load(compiled().to_json().replace(b"support-*", b"support-x"))


def test_a_form_of_a_later_release_is_refused_with_the_remedy() -> None:
    with pytest.raises(FailedPrecondition, match="format 2, and this release reads up to 1: upgrade"):
        load(b'{"compiled_format": 2, "rules": "who knows"}')
    with pytest.raises(FailedPrecondition):
        load({"compiled_format": 2})


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"compiled_format": 1}',
        b'{"compiled_format": 0}',
        {},
        {"compiled_format": "1"},
        "[" * 100_000,
        "{}",
        b" " * (5 << 20),
    ],
)
def test_what_is_no_compiled_policy_is_refused(source: object) -> None:
    with pytest.raises(InvalidArgument):
        load(cast("Any", source))


@pytest.mark.parametrize(
    "rule, message",
    [
        ({"type": "when", "name": "x", "when": "nope("}, r"rules\[0\].when: "),
        ({"type": "argument_match", "name": "x", "argument": "a", "matches": "("}, r"rules\[0\].matches: "),
        ({"type": "scanner", "name": "x", "scanner": "nope"}, r"rules\[0\].scanner: unknown scanner"),
        ({"type": "nope", "name": "x"}, "not a compiled policy"),
        ({"type": "budget", "name": "x", "max_steps": 1, "extra": 1}, "not a compiled policy"),
    ],
)
def test_rules_are_checked_again_when_they_are_loaded(rule: dict[str, Any], message: str) -> None:
    full = {"action": "block", "severity": "medium", "description": ""} | rule
    with pytest.raises(InvalidArgument, match=message + "|was changed"):
        load(resealed(rules=[full]))


def test_a_loaded_policy_keeps_its_rules_names_apart_and_their_number_bounded() -> None:
    rule: AnyRule = Scanner(name="a", scanner="any")
    for rules, message in (
        ((rule, rule), "already taken"),
        (tuple(Scanner(name=f"r{n}", scanner="any") for n in range(1001)), "too many"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            load(CompiledPolicy(rules=rules).sealed().to_json())


def test_a_policy_works_the_same_after_the_way_through_json() -> None:
    policy = active("{name: d, type: tool_denylist, tools: [x]}").policy
    loaded = Evaluator([ActivePolicy(policy=load(policy.to_json()))])
    assert [loaded.evaluate(call(tool)).allowed for tool in "xy"] == [False, True]
