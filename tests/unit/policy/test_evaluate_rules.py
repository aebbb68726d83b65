"""What the rules about arguments, counts, chains, networks and conditions mean, sentence by sentence."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import PurePosixPath
from typing import Any

import pytest

from rune.errors import InvalidArgument
from rune.policy.action import Action, Direction, Finding
from rune.policy.evaluate import MAX_PLANS, Evaluator, Ledger
from unit.policy.judging import active, call, judge

INJECTION = Finding(type="prompt_injection", rule="pi.1", confidence=0.7)
DENY = "{name: deny, type: tool_denylist, tools: [delete_file], severity: critical}"


def found(*findings: Finding, direction: Direction = "input") -> Action:
    return Action(direction=direction, agent_id="a", findings=findings, tool="t")


# What a verdict says


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
def test_network_allowlist_reads_urls_at_any_depth(arguments: object, allowed: bool) -> None:
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
    assert len(evaluator._plans) <= MAX_PLANS  # noqa: SLF001 - the bound is about it  # pyright: ignore[reportPrivateUsage] - the bound is about it


def test_long_names_from_outside_are_judged_and_not_kept() -> None:
    evaluator, ledger = (
        judge(DENY, "{name: r, type: rate_limit, max_calls: 1, window_seconds: 9, per: tool}"),
        Ledger(),
    )
    verdicts = [
        evaluator.decide(call("x" * 5000, session="s" * 5000), ledger=ledger, now=0.0).allowed for _ in "ab"
    ]
    assert verdicts == [True, False]
    assert not evaluator._plans  # noqa: SLF001 - the bound is about it  # pyright: ignore[reportPrivateUsage] - the bound is about it
    assert all(len(part) <= 256 for key in ledger._records for part in key)  # noqa: SLF001 - the bound is about it  # pyright: ignore[reportPrivateUsage] - as above


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
    start = time.process_time()
    assert not evaluator.evaluate(Action(tool="write_file", arguments=arguments)).allowed
    assert time.process_time() - start < 3


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
