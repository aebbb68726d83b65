"""What holds for all policies and all actions."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rune.policy.action import Action, Direction, Finding, Verdict
from rune.policy.compiled import CompiledPolicy, load
from rune.policy.evaluate import ActivePolicy, Evaluator, Ledger
from rune.policy.model import (
    STRICTNESS,
    ActionName,
    AnyRule,
    ArgumentMatch,
    Budget,
    DataProtection,
    DirectionName,
    Flow,
    Mode,
    NetworkAllowlist,
    RateLimit,
    Scanner,
    Sequence,
    ToolAllowlist,
    ToolDenylist,
    When,
)

TOOLS = ["read_file", "write_file", "pay", "fetch_page", "send_mail"]
names = st.uuids().map(str)
actions: st.SearchStrategy[ActionName] = st.sampled_from(
    ["block", "require_approval", "redact", "alert", "log"]
)
directions: st.SearchStrategy[DirectionName] = st.sampled_from(["input", "output", "tool", "any"])
globs = st.lists(st.sampled_from([*TOOLS, "*", "*_file", "read_*", "?ay"]), min_size=1, max_size=3).map(tuple)
threats = st.sampled_from(["prompt_injection", "pii_exposure", "secret_exposure"])
confidences = st.sampled_from([0.0, 0.5, 0.9])
common: dict[str, Any] = {"name": names, "action": actions}

stateless: st.SearchStrategy[AnyRule] = st.one_of(
    st.builds(Scanner, scanner=threats, min_confidence=confidences, direction=directions, **common),
    st.builds(DataProtection, patterns=st.just(("ssn", "email")), direction=directions, **common),
    st.builds(ToolAllowlist, tools=globs, **common),
    st.builds(ToolDenylist, tools=globs, **common),
    st.builds(
        ArgumentMatch, argument=st.sampled_from(["path", "*"]), not_matches=st.just("^/workspace"), **common
    ),
    st.builds(NetworkAllowlist, domains=st.just(("*.example.com",)), **common),
    st.builds(
        When,
        when=st.sampled_from(["args.amount > 10", "tool.name == 'pay' && args.amount > 5", "has(args.url)"]),
        **common,
    ),
)
counting: st.SearchStrategy[AnyRule] = st.one_of(
    st.builds(
        RateLimit,
        max_calls=st.integers(1, 3),
        window_seconds=st.just(10.0),
        per=st.sampled_from(["agent", "tool", "session", "org"]),
        **common,
    ),
    st.builds(Budget, max_steps=st.integers(1, 5), max_tokens=st.integers(1, 50), **common),
    st.builds(Sequence, steps=st.just(("read_*", "send_*")), within_seconds=st.just(20.0), **common),
    st.builds(
        Flow, sources=st.just(("web", "tool:fetch_*")), sinks=st.just(("tool:send_*", "tool:pay")), **common
    ),
)
rules = st.lists(stateless | counting, max_size=6, unique_by=lambda rule: rule.name)
all_directions: st.SearchStrategy[Direction] = st.sampled_from(
    ["input", "output", "tool_call", "tool_result"]
)
happenings = st.builds(
    Action,
    direction=all_directions,
    tool=st.sampled_from(TOOLS),
    arguments=st.dictionaries(
        st.sampled_from(["path", "amount", "url"]),
        st.sampled_from(["/workspace/a", "/etc", 3, 7, 20, "https://evil.com"]),
        max_size=2,
    ),
    agent_id=st.sampled_from(["a", "b"]),
    session_id=st.sampled_from(["", "s"]),
    source=st.sampled_from(["", "web", "chat"]),
    tokens=st.integers(0, 20),
    findings=st.lists(
        st.builds(Finding, type=threats, rule=st.sampled_from(["ssn", "x"]), confidence=confidences),
        max_size=2,
    ).map(tuple),
)
histories = st.lists(st.tuples(happenings, st.floats(0, 8)), max_size=8)


def evaluator(given_rules: list[AnyRule], mode: Mode = "enforce") -> Evaluator:
    return Evaluator([ActivePolicy(policy=CompiledPolicy(rules=tuple(given_rules), mode=mode).sealed())])


def run(judge: Evaluator, history: list[tuple[Action, float]]) -> list[Verdict]:
    ledger, now, verdicts = Ledger(), 0.0, list[Verdict]()
    for action, gap in history:
        now += gap
        verdicts.append(judge.decide(action, ledger=ledger, now=now))
    return verdicts


def strictness(verdict: Verdict) -> int:
    return STRICTNESS.get(verdict.action, 0)


@given(rules, histories)
def test_a_compiled_policy_judges_the_same_after_the_way_through_json(
    made: list[AnyRule], history: list[tuple[Action, float]]
) -> None:
    policy = CompiledPolicy(rules=tuple(made)).sealed()
    before = Evaluator([ActivePolicy(policy=policy)])
    after = Evaluator([ActivePolicy(policy=load(policy.to_json()))])
    assert run(before, history) == run(after, history)


@given(rules, histories, st.data())
def test_the_order_of_rules_changes_no_action(
    made: list[AnyRule], history: list[tuple[Action, float]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(made))
    first, second = run(evaluator(made), history), run(evaluator(shuffled), history)
    assert [v.action for v in first] == [v.action for v in second]
    assert [{m.rule for m in v.matches} for v in first] == [{m.rule for m in v.matches} for v in second]


@given(rules, rules, happenings)
def test_more_rules_never_allow_more(made: list[AnyRule], more: list[AnyRule], action: Action) -> None:
    few, many = evaluator(made), evaluator([*made, *more])
    assert strictness(many.evaluate(action)) >= strictness(few.evaluate(action))


@given(rules, happenings)
def test_splitting_a_policy_in_two_changes_no_action(made: list[AnyRule], action: Action) -> None:
    parts = [CompiledPolicy(rules=tuple(part)).sealed() for part in (made[::2], made[1::2])]
    split = Evaluator([ActivePolicy(policy=part, policy_id=str(n)) for n, part in enumerate(parts)])
    assert split.evaluate(action).action == evaluator(made).evaluate(action).action


@given(rules, histories)
def test_monitor_mode_stops_nothing_and_tells_what_enforcing_would_do_first(
    made: list[AnyRule], history: list[tuple[Action, float]]
) -> None:
    monitored, enforced = run(evaluator(made, "monitor"), history), run(evaluator(made), history)
    assert all(verdict.allowed for verdict in monitored)
    for seen, real in zip(monitored, enforced, strict=True):
        assert seen.would == real.action
        if not real.allowed:
            break  # from here on the two histories are different


@given(rules, histories)
def test_evaluating_notes_nothing(made: list[AnyRule], history: list[tuple[Action, float]]) -> None:
    judge, ledger = evaluator(made), Ledger()
    for action, now in history:
        assert judge.evaluate(action, ledger=ledger, now=now) == judge.evaluate(action, now=now)
    assert len(ledger) == 0


@given(rules, happenings)
def test_a_verdict_is_that_of_its_first_match(made: list[AnyRule], action: Action) -> None:
    verdict = evaluator(made).evaluate(action)
    if not verdict.matches:
        assert verdict.action == "allow"
        return
    first = verdict.matches[0]
    assert (verdict.action, verdict.rule, verdict.severity) == (first.action, first.rule, first.severity)
    assert strictness(verdict) == max(STRICTNESS[match.action] for match in verdict.matches)
    assert verdict.allowed is (verdict.action not in {"block", "require_approval"})
