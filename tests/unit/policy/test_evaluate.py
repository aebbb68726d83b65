"""What policies mean, sentence by sentence."""

from __future__ import annotations

import pytest

from rune.policy.action import Action, Direction, Finding
from rune.policy.evaluate import ActivePolicy, Evaluator
from rune.policy.model import SCANNERS
from unit.policy.judging import active, call, judge

INJECTION = Finding(type="prompt_injection", rule="pi.1", confidence=0.7)
DENY = "{name: deny, type: tool_denylist, tools: [delete_file], severity: critical}"


def found(*findings: Finding, direction: Direction = "input") -> Action:
    return Action(direction=direction, agent_id="a", findings=findings, tool="t")


# What a verdict says


def test_without_a_matching_rule_everything_is_allowed() -> None:
    verdict = judge(DENY).evaluate(call("read_file"))
    assert (verdict.action, verdict.allowed, verdict.rule, verdict.matches) == ("allow", True, "", ())


def test_a_verdict_names_rule_policy_and_reason() -> None:
    policy = active(DENY, head="name: production", policy_id="pol_1").policy
    evaluator = Evaluator([ActivePolicy(policy=policy, policy_id="pol_1", version=7)])
    verdict = evaluator.evaluate(call("delete_file"))
    assert (verdict.allowed, verdict.action, verdict.rule, verdict.policy) == (
        False,
        "block",
        "deny",
        "production",
    )
    assert (verdict.policy_id, verdict.policy_version, verdict.severity) == ("pol_1", 7, "critical")
    assert verdict.explanation == "tool 'delete_file' is on the denylist"


@pytest.mark.parametrize(
    "action, allowed",
    [("block", False), ("require_approval", False), ("redact", True), ("alert", True), ("log", True)],
)
def test_what_an_action_allows(action: str, allowed: bool) -> None:
    verdict = judge(f"{{name: a, type: tool_denylist, tools: [x], action: {action}}}").evaluate(call("x"))
    assert (verdict.action, verdict.allowed) == (action, allowed)


def test_the_strictest_action_wins_and_every_match_is_listed() -> None:
    order = ["log", "alert", "redact", "require_approval", "block"]
    rules = [f"{{name: {a}, type: tool_denylist, tools: [x], action: {a}}}" for a in order]
    for count in range(1, 6):
        verdict = judge(*rules[:count]).evaluate(call("x"))
        assert verdict.rule == order[count - 1]
        assert [match.rule for match in verdict.matches] == order[:count][::-1]


def test_among_equal_actions_the_severest_rule_speaks() -> None:
    low = "{name: low, type: tool_denylist, tools: [x], severity: low}"
    high = "{name: high, type: tool_denylist, tools: [x], severity: high}"
    assert judge(low, high).evaluate(call("x")).rule == "high"


def test_long_names_are_cut_in_explanations() -> None:
    assert (
        len(judge("{name: a, type: tool_allowlist, tools: []}").evaluate(call("x" * 10_000)).explanation)
        < 200
    )


# Whom a policy is for


def test_a_policy_without_agents_and_tags_is_for_everybody() -> None:
    assert not judge(DENY).evaluate(Action(tool="delete_file")).allowed


@pytest.mark.parametrize(
    "agent, concerned", [("support-1", True), ("Support-1", True), ("billing", False), ("", False)]
)
def test_agents_are_globs(agent: str, concerned: bool) -> None:
    verdict = judge(DENY, head="agents: [support-*]").evaluate(call("delete_file", agent=agent))
    assert verdict.allowed is not concerned


@pytest.mark.parametrize(
    "tags, concerned", [(("prod",), True), (("x", "PROD"), True), (("dev",), False), ((), False)]
)
def test_one_of_the_tags_is_enough(tags: tuple[str, ...], concerned: bool) -> None:
    verdict = judge(DENY, head="tags: [prod, eu]").evaluate(Action(tool="delete_file", tags=tags))
    assert verdict.allowed is not concerned


def test_agents_and_tags_must_both_fit() -> None:
    evaluator = judge(DENY, head="agents: [a*]\ntags: [prod]")
    assert evaluator.evaluate(Action(tool="delete_file", agent_id="a1")).allowed
    assert not evaluator.evaluate(Action(tool="delete_file", agent_id="a1", tags=("prod",))).allowed


# Monitor mode


@pytest.mark.parametrize(
    "action, becomes",
    [("block", "log"), ("require_approval", "log"), ("redact", "log"), ("alert", "alert"), ("log", "log")],
)
def test_monitor_turns_what_interferes_into_log_and_says_what_would_be(action: str, becomes: str) -> None:
    rule = f"{{name: a, type: tool_denylist, tools: [x], action: {action}}}"
    verdict = judge(rule, head="mode: monitor").evaluate(call("x"))
    assert (verdict.allowed, verdict.action, verdict.would) == (True, becomes, action)
    assert (verdict.matches[0].action, verdict.matches[0].declared) == (becomes, action)


def test_a_policy_in_monitor_mode_does_not_weaken_another() -> None:
    evaluator = Evaluator([active(DENY, head="mode: monitor", policy_id="a"), active(DENY, policy_id="b")])
    verdict = evaluator.evaluate(call("delete_file"))
    assert (verdict.allowed, verdict.policy_id, len(verdict.matches)) == (False, "b", 2)


# Scanner rules


@pytest.mark.parametrize(
    "scanner, threat", [(s, t) for s, t in SCANNERS.items() if t not in {"any", "tool_call"}]
)
def test_a_scanner_rule_matches_its_threat_alone(scanner: str, threat: str) -> None:
    evaluator = judge(f"{{name: a, scanner: {scanner}}}")
    assert not evaluator.evaluate(found(Finding(type=threat))).allowed
    assert evaluator.evaluate(found(Finding(type="something_else"))).allowed


def test_any_matches_every_threat_and_no_threat_is_no_match() -> None:
    evaluator = judge("{name: a, scanner: any}")
    assert not evaluator.evaluate(found(Finding(type="ssrf"))).allowed
    assert evaluator.evaluate(found()).allowed


def test_tool_call_matches_every_threat_in_arguments_alone() -> None:
    evaluator = judge("{name: a, scanner: tool_call}")
    assert not evaluator.evaluate(found(INJECTION, direction="tool_call")).allowed
    assert evaluator.evaluate(found(INJECTION, direction="input")).allowed


def test_min_confidence_is_met_by_the_surest_finding() -> None:
    evaluator = judge("{name: a, scanner: prompt_injection, min_confidence: 0.6}")
    unsure = Finding(type="prompt_injection", confidence=0.59)
    assert evaluator.evaluate(found(unsure)).allowed
    assert not evaluator.evaluate(found(unsure, INJECTION)).allowed
    assert not evaluator.evaluate(found(Finding(type="prompt_injection", confidence=0.6))).allowed


@pytest.mark.parametrize(
    "direction, covered",
    [
        ("input", {"input", "tool_result"}),
        ("output", {"output"}),
        ("tool", {"tool_call", "tool_result"}),
        ("any", {"input", "output", "tool_call", "tool_result"}),
    ],
)
def test_what_a_direction_covers(direction: str, covered: set[str]) -> None:
    evaluator = judge(f"{{name: a, scanner: any, direction: {direction}}}")
    directions: list[Direction] = ["input", "output", "tool_call", "tool_result"]
    assert {d for d in directions if not evaluator.evaluate(found(INJECTION, direction=d)).allowed} == covered


@pytest.mark.parametrize("rule", ["ssn", "pii.ssn", "pii/us-ssn", "PII_SSN"])
def test_data_protection_matches_kinds_of_personal_data(rule: str) -> None:
    evaluator = judge("{name: a, type: data_protection, patterns: [ssn, email], direction: output}")
    finding = Finding(type="pii_exposure", rule=rule)
    assert not evaluator.evaluate(found(finding, direction="output")).allowed
    assert evaluator.evaluate(found(finding, direction="input")).allowed
    assert evaluator.evaluate(found(Finding(type="pii_exposure", rule="iban"), direction="output")).allowed
    assert evaluator.evaluate(found(Finding(type="jailbreak", rule="ssn"), direction="output")).allowed


# Tools


def test_the_category_of_a_finding_outweighs_the_name_of_its_rule() -> None:
    evaluator = judge("{name: a, type: data_protection, patterns: [email]}")
    assert not evaluator.evaluate(found(Finding(type="pii_exposure", rule="x", category="email"))).allowed
    assert evaluator.evaluate(found(Finding(type="pii_exposure", rule="email", category="iban"))).allowed


def test_without_an_allowlist_every_tool_is_allowed() -> None:
    assert judge().evaluate(call("anything")).allowed


def test_an_allowlist_allows_names_and_globs_and_nothing_else() -> None:
    evaluator = judge('{name: a, type: tool_allowlist, tools: [search, "read_*", "?x", "[ab]c"]}')
    allowed = ["search", "read_", "read_file", "1x", "ac"]
    refused = [
        "",
        "Search",
        "SEARCH",
        " search",
        "search ",
        "ｓearch",
        "xread_file",
        "x",
        "cc",
        "searchx",
        "read",
    ]
    assert [tool for tool in allowed + refused if evaluator.evaluate(call(tool)).allowed] == allowed


def test_an_empty_allowlist_allows_no_tool() -> None:
    assert not judge("{name: a, type: tool_allowlist, tools: []}").evaluate(call("x")).allowed


def test_two_allowlists_allow_what_both_allow_in_one_policy_or_in_two() -> None:
    first, second = (
        "{name: a, type: tool_allowlist, tools: [x, y]}",
        "{name: b, type: tool_allowlist, tools: [y, z]}",
    )
    for evaluator in (
        judge(first, second),
        Evaluator([active(first, policy_id="1"), active(second, policy_id="2")]),
    ):
        assert [tool for tool in "xyz" if evaluator.evaluate(call(tool)).allowed] == ["y"]


@pytest.mark.parametrize(
    "tool", ["delete_file", "Delete_File", "DELETE_FILE", " delete_file", "ｄelete_file", "delete\u200b_file"]
)
def test_no_spelling_gets_around_a_denylist(tool: str) -> None:
    assert not judge(DENY).evaluate(call(tool)).allowed


def test_lists_of_tools_are_about_calls_alone() -> None:
    evaluator = judge(DENY, "{name: a, type: tool_allowlist, tools: []}")
    for direction in ("input", "output", "tool_result"):
        assert evaluator.evaluate(Action(direction=direction, tool="delete_file")).allowed


def test_the_mcp_section_is_about_tools_of_its_server() -> None:
    evaluator = judge(
        head="mcp: {servers: {files: {allowed_tools: [read_file, write_file], blocked_tools: [write_file]}}}"
    )
    verdicts = {
        tool: evaluator.evaluate(Action(tool=tool, server="Files"))
        for tool in ("read_file", "write_file", "x")
    }
    assert {tool: verdict.rule for tool, verdict in verdicts.items()} == {
        "read_file": "",
        "write_file": "mcp.files.blocked_tools",
        "x": "mcp.files.allowed_tools",
    }
    assert evaluator.evaluate(Action(tool="x", server="other")).allowed
    assert evaluator.evaluate(Action(tool="x")).allowed


def test_a_tool_can_be_judged_by_its_name_alone() -> None:
    evaluator = judge(DENY, "{name: w, when: 'args.x > 1'}")
    assert not evaluator.judge_tool(Action(tool="delete_file")).allowed
    assert evaluator.judge_tool(Action(tool="other")).allowed


# Arguments
