"""What policies mean, sentence by sentence."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import PurePosixPath
from typing import Any

import pytest

from rune.errors import InvalidArgument
from rune.policy.action import Action, Direction, Finding
from rune.policy.evaluate import MAX_PLANS, ActivePolicy, Evaluator, Ledger
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
def test_what_an_action_allows(action: str, allowed: bool) -> None:  # noqa: FBT001
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
def test_agents_are_globs(agent: str, concerned: bool) -> None:  # noqa: FBT001
    verdict = judge(DENY, head="agents: [support-*]").evaluate(call("delete_file", agent=agent))
    assert verdict.allowed is not concerned


@pytest.mark.parametrize(
    "tags, concerned", [(("prod",), True), (("x", "PROD"), True), (("dev",), False), ((), False)]
)
def test_one_of_the_tags_is_enough(tags: tuple[str, ...], concerned: bool) -> None:  # noqa: FBT001
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

PATHS = '{name: paths, type: argument_match, tool: write_file, argument: path, not_matches: "^/workspace/"}'


@pytest.mark.parametrize("path", ["/workspace/a", "/workspace/a/../b", "/workspace/./a", "/workspace//a"])
def test_not_matches_lets_pass_what_fits(path: str) -> None:
    assert judge(PATHS).evaluate(call("write_file", path=path)).allowed


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/workspace/../etc/passwd",
        "/workspace/a/../../etc",
        "/workspace/..\\..\\etc",
        "",
        "workspace/a",
        "\n/workspace/a",
        None,
        5,
        ["/workspace/a", "/etc"],
        {"a": {"b": "/etc"}},
        PurePosixPath("/etc"),
        b"/etc",
        object(),
        "\ud800",
    ],
)
def test_not_matches_matches_everything_else(path: object) -> None:
    assert not judge(PATHS).evaluate(call("write_file", path=path)).allowed


def test_an_argument_that_is_missing_is_not_known_to_fit() -> None:
    verdict = judge(PATHS).evaluate(call("write_file"))
    assert (verdict.allowed, verdict.explanation) == (False, "argument path is missing")
    assert judge(PATHS[:-1] + ", optional: true}").evaluate(call("write_file")).allowed


def test_other_tools_are_left_alone_and_the_same_in_other_case_is_not() -> None:
    assert judge(PATHS).evaluate(call("read_file", path="/etc")).allowed
    assert not judge(PATHS).evaluate(call("Write_File", path="/etc")).allowed


def test_matches_matches_what_fits_and_nothing_that_is_missing() -> None:
    evaluator = judge('{name: a, type: argument_match, argument: command, matches: "(?i)rm +-rf"}')
    assert not evaluator.evaluate(call("sh", command="sudo RM  -rf /")).allowed
    assert not evaluator.evaluate(call("sh", command=["ls", "rm -rf /"])).allowed
    assert evaluator.evaluate(call("sh", command="ls")).allowed
    assert evaluator.evaluate(call("sh")).allowed


def test_dots_lead_into_arguments_and_are_read_both_ways() -> None:
    evaluator = judge('{name: a, type: argument_match, argument: options.path, matches: "^/etc"}')
    assert not evaluator.evaluate(call("x", options={"path": "/etc"})).allowed
    both = {"options.path": "/etc", "options": {"path": "/srv"}}
    assert not evaluator.evaluate(Action(tool="x", arguments=both)).allowed
    both = {"options.path": "/srv", "options": {"path": "/etc"}}
    assert not evaluator.evaluate(Action(tool="x", arguments=both)).allowed
    assert evaluator.evaluate(call("x", options="/etc")).allowed


def test_a_star_is_every_argument_at_any_depth() -> None:
    evaluator = judge('{name: a, type: argument_match, argument: "*", matches: "secret"}')
    assert not evaluator.evaluate(call("x", a=[{"b": ["c", "a secret"]}])).allowed
    assert evaluator.evaluate(call("x", a=1)).allowed


@pytest.mark.parametrize("value, text", [(True, "true"), (12, "12"), (1.5, "1.5"), (None, "null")])
def test_scalars_are_read_as_json_writes_them(value: object, text: str) -> None:
    evaluator = judge(f'{{name: a, type: argument_match, argument: x, matches: "^{text}$"}}')
    assert not evaluator.evaluate(call("t", x=value)).allowed


@pytest.mark.parametrize("arguments", ['{"path": "/etc"}', b'{"path": "/etc"}', {"path": "/etc"}])
def test_arguments_may_come_as_json_text(arguments: object) -> None:
    assert not judge(PATHS).evaluate(Action(tool="write_file", arguments=arguments)).allowed


@pytest.mark.parametrize("arguments", ["rm -rf", ["rm -rf"], b"rm -rf", ("x", "rm -rf"), {"rm -rf"}])
def test_arguments_that_are_no_mapping_are_one_argument_called_input(arguments: object) -> None:
    evaluator = judge('{name: a, type: argument_match, argument: input, matches: "rm -rf"}')
    assert not evaluator.evaluate(Action(tool="sh", arguments=arguments)).allowed


def test_arguments_past_every_limit_count_as_a_match() -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    evaluator = judge('{name: a, type: argument_match, argument: "*", matches: "secret"}')
    assert not evaluator.evaluate(Action(tool="x", arguments=cycle)).allowed
    assert not evaluator.evaluate(Action(tool="x", arguments={"l": ["a"] * 60_000})).allowed


# Network

NET = '{name: net, type: network_allowlist, domains: ["*.example.com"]}'


@pytest.mark.parametrize(
    "arguments, allowed",
    [
        ({"url": "https://api.example.com/x"}, True),
        ({"url": "https://evil.com"}, False),
        ({"a": [{"b": "text with https://evil.com in it"}]}, False),
        ({"https://evil.com": 1}, False),
        ({"url": "evil.com"}, False),
        ({"text": "evil.com"}, True),
        ({"url": "ftp://api.example.com"}, False),
        ({"url": "file:///etc/passwd"}, False),
        ({"url": "https://api.example.com@evil.com"}, False),
        ({"n": 5}, True),
        ({}, True),
        (None, True),
    ],
)
def test_network_allowlist_reads_urls_at_any_depth(arguments: object, allowed: bool) -> None:  # noqa: FBT001
    assert judge(NET).evaluate(Action(tool="get", arguments=arguments)).allowed is allowed


def test_a_call_with_more_urls_than_are_read_is_not_known_to_fit() -> None:
    urls = ["https://api.example.com"] * 1000
    assert judge(NET).evaluate(call("get", urls=urls)).allowed
    assert not judge(NET).evaluate(call("get", urls=[*urls, "https://api.example.com"])).allowed
    assert not judge(NET).evaluate(call("get", text=" ".join([*urls, urls[0]]))).allowed


def test_a_url_cannot_hide_behind_what_is_not_read() -> None:
    deep: Any = "https://evil.com"
    for _ in range(40):
        deep = [deep]
    assert not judge(NET).evaluate(call("get", a=deep)).allowed
    assert not judge(NET).evaluate(call("get", a=[1] * 30_000, url="https://evil.com")).allowed
    assert judge(NET).evaluate(call("get", client=object())).allowed


def test_schemes_and_tools_of_a_network_allowlist_can_be_narrowed() -> None:
    evaluator = judge(
        '{name: a, type: network_allowlist, domains: ["*"], schemes: [https], tools: ["http_*"]}'
    )
    assert evaluator.evaluate(call("http_get", url="https://x.y")).allowed
    assert not evaluator.evaluate(call("http_get", url="http://x.y")).allowed
    assert evaluator.evaluate(call("other", url="http://x.y")).allowed


# Conditions

PAY = "{name: pay, when: \"tool.name == 'pay' && args.amount > 100\", action: require_approval}"


@pytest.mark.parametrize(
    "tool, amount, action",
    [
        ("pay", 101, "require_approval"),
        ("pay", 100, "allow"),
        ("read", 101, "allow"),
        ("pay", "5", "require_approval"),
        ("pay", True, "require_approval"),
        ("pay", float("nan"), "require_approval"),
        ("pay", object(), "require_approval"),
    ],
)
def test_a_condition_matches_when_it_holds_or_cannot_be_judged(
    tool: str, amount: object, action: str
) -> None:
    assert judge(PAY).evaluate(call(tool, amount=amount)).action == action


def test_a_condition_about_what_is_absent_does_not_match() -> None:
    assert judge(PAY).evaluate(call("pay")).allowed


def test_a_condition_sees_who_what_and_where() -> None:
    rule = (
        "{name: a, when: \"agent.id == 'a1' && 'prod' in tags && session.id == 's' && source == 'web'"
        " && direction == 'input'"
        " && findings.exists(f, f.confidence > 0.5) && tool.name == '' && size(args) == 0\"}"
    )
    action = Action(
        direction="input", agent_id="a1", tags=("prod",), session_id="s", source="web", findings=(INJECTION,)
    )
    assert not judge(rule).evaluate(action).allowed


def test_a_condition_can_be_about_one_direction() -> None:
    evaluator = judge("{name: a, when: 'true', direction: output}")
    assert evaluator.evaluate(call("x")).allowed
    assert not evaluator.evaluate(Action(direction="output")).allowed


# The evaluator itself


def test_two_policies_need_different_ids_or_names() -> None:
    with pytest.raises(InvalidArgument, match="twice"):
        Evaluator([active(policy_id="a"), active(policy_id="a")])
    with pytest.raises(InvalidArgument, match="twice"):
        Evaluator([active(policy_id=""), active(policy_id="")])
    assert Evaluator([active(head="name: a", policy_id=""), active(head="name: b", policy_id="")])


def test_ever_new_names_do_not_fill_the_memory() -> None:
    evaluator = judge(DENY)
    for n in range(MAX_PLANS * 2 + 10):
        evaluator.evaluate(call(f"t{n}"))
    assert len(evaluator._plans) <= MAX_PLANS  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the bound is about it


def test_long_names_from_outside_are_judged_and_not_kept() -> None:
    evaluator, ledger = (
        judge(DENY, "{name: r, type: rate_limit, max_calls: 1, window_seconds: 9, per: tool}"),
        Ledger(),
    )
    verdicts = [
        evaluator.decide(call("x" * 5000, session="s" * 5000), ledger=ledger, now=0.0).allowed for _ in "ab"
    ]
    assert verdicts == [True, False]
    assert not evaluator._plans  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the bound is about it
    assert all(len(part) <= 256 for key in ledger._records for part in key)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above


@pytest.mark.parametrize(
    "arguments",
    [
        {str(n): "https://x.example.com" for n in range(200_000)},
        {"a": [["x"] * 100] * 5000},
        {"a": "https:" * 200_000},
    ],
)
def test_no_arguments_are_slow(arguments: object) -> None:
    evaluator = judge(
        NET,
        PATHS,
        '{name: a, type: argument_match, argument: "*", matches: "(a|aa)+$"}',
        "{name: w, when: 'size(args) > 1'}",
    )
    start = time.perf_counter()
    assert not evaluator.evaluate(Action(tool="write_file", arguments=arguments)).allowed
    assert time.perf_counter() - start < 3


def test_importing_the_evaluator_loads_nothing_heavy() -> None:
    code = "import sys, rune.policy.evaluate; print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )
    heavy = {
        "yaml",
        "re2",
        "grpc",
        "httpx",
        "click",
        "starlette",
        "pydantic",
        "difflib",
        "hyperscan",
        "numpy",
    }
    assert not loaded & heavy
