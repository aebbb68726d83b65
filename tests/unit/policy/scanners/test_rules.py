"""Every rule matches what it says it matches, leaves alone what it says it leaves alone, and is linear."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rune.errors import InvalidArgument
from rune.policy.scanners.engine import compile_pattern
from rune.policy.scanners.finding import Direction, Finding
from rune.policy.scanners.patterns import PatternScanner
from rune.policy.scanners.rules import SENSITIVE, Rule, builtin_rules, load_rules, problems

RULES = builtin_rules()
WAYS: tuple[tuple[Direction, str], ...] = (
    ("input", "chat"),
    ("input", "web"),
    ("output", "chat"),
    ("tool", "chat"),
)
SCANNERS = {"hyperscan": PatternScanner(), "ahocorasick": PatternScanner(prefer="ahocorasick")}


def everywhere(scanner: PatternScanner, text: str) -> list[Finding]:
    plain = text.replace(
        "{-}", ""
    )  # parts secrets in the rule files, so that no scanner of repositories trips over them
    return [f for direction, source in WAYS for f in scanner.scan(plain, direction=direction, source=source)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_matches_its_examples(rule: Rule) -> None:
    for text in rule.examples.match:
        assert rule.id in {f.rule for f in everywhere(SCANNERS["hyperscan"], text)}, text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_leaves_its_counterexamples_alone(rule: Rule) -> None:
    for text in rule.examples.ignore:
        same = [f for f in everywhere(SCANNERS["hyperscan"], text) if f.type == rule.type]
        assert not [f for f in same if f.weight >= 0.5 or rule.type in SENSITIVE], text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_well_formed_and_has_examples_of_both_kinds(rule: Rule) -> None:
    assert problems(rule, {}) == []
    assert rule.examples.match
    assert rule.examples.ignore
    assert rule.groups, "a rule without keywords is tried on every text"


def test_rule_ids_are_unique() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_both_engines_find_the_same(rule: Rule) -> None:
    for text in (*rule.examples.match, *rule.examples.ignore, " ".join(rule.examples.match) * 9):
        fast, plain = (everywhere(scanner, text) for scanner in SCANNERS.values())
        assert fast == plain, text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_text_makes_a_pattern_slow(rule: Rule) -> None:
    regex = compile_pattern(rule.pattern)
    words = [word for group in rule.groups for word in group if not word.startswith("<")] or ["1", "a"]
    pieces = [
        *(example.replace("{-}", "").lower()[:-1] for example in rule.examples.match),
        " ".join(words),
        "a",
        "0 ",
        "( ",
    ]
    for piece in pieces:
        data = (piece * (20_000 // len(piece) + 1))[:20_000].encode()
        began = time.thread_time()
        place = 0
        for _ in range(32):
            match = regex.search(data, place)
            if match is None:
                break
            place = max(match.end(), place + 1)
        assert time.thread_time() - began < 0.4, f"{rule.id} on {piece[:40]!r}"


def write(folder: Path, text: str) -> Path:
    file = folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return file


GOOD = """
vocabulary: {animal: 'cat|dog'}
rules:
  - id: own-rule
    type: data_exfiltration
    severity: critical
    confidence: 0.9
    says: It sends an animal away
    pattern: '\\bsend the %{animal} away\\b'
    keywords: [send]
"""


def test_users_add_rules_of_their_own(tmp_path: Path) -> None:
    scanner = PatternScanner((*RULES, *load_rules(write(tmp_path, GOOD))))
    assert "own-rule" in {f.rule for f in scanner.scan("Please send the  dog away", direction="input")}


def test_a_folder_of_rules_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "more.yml").write_text(GOOD.replace("own-rule", "other-rule"), encoding="utf-8")
    assert {rule.id for rule in load_rules(tmp_path)} == {"own-rule", "other-rule"}


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ("severity: critical", "severity: terrible", "own.yaml:6:15", "Invalid enum value"),
        ("data_exfiltration", "mischief", "own.yaml:5:11", "unknown type 'mischief'"),
        ("%{animal} away", "(%{animal} away", "own.yaml:9:14", "missing )"),
        ("%{animal}", "%{plant}", "own.yaml:9:14", "no word 'plant'"),
        ("confidence: 0.9", "confidence: 7", "own.yaml:7:17", "above 0 and at most 1"),
        ("keywords: [send]", "keyword: [send]", "own.yaml:4:5", "unknown field `keyword`"),
        ("own-rule", "override-previous-orders", "own.yaml:4:9", "is used already"),
        (
            r"'\\bsend the %{animal} away\\b'".replace("\\\\", "\\"),
            "'x*'",
            "own.yaml:9:14",
            "matches the empty text",
        ),
        ("keywords: [send]", "validator: magic", "own.yaml:10:16", "validators are"),
    ],
)
def test_a_bad_rule_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, place: str, reason: str
) -> None:
    assert old in GOOD
    with pytest.raises(InvalidArgument) as failure:
        load_rules(write(tmp_path, GOOD.replace(old, new)))
    assert place in str(failure.value)
    assert reason in str(failure.value)


def test_broken_yaml_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="line 2, column 1"):
        load_rules(write(tmp_path, "rules: [\n"))
