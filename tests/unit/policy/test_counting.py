"""Rules that remember, and the ledger they remember in."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.action import Action, Direction
from rune.policy.evaluate import Ledger
from rune.policy.ledger import Tally, Window
from unit.policy.judging import Run, call, judge

RATE = "{{name: slow, type: rate_limit, max_calls: 2, window_seconds: 60, per: {per}}}"
CHAIN = "{name: chain, type: sequence, steps: [read_secret, http_post], within_seconds: 300}"
TAINT = (
    '{name: taint, type: flow, from: [web, "tool:fetch_*"], to: ["tool:send_*"], action: require_approval}'
)
SEND = call("send_mail")


def allowed(run: Run, *tools: str, session: str = "s1", agent: str = "agent-1") -> list[bool]:
    return [run(call(tool, session=session, agent=agent)).allowed for tool in tools]


# Rate limits


def test_the_call_past_the_limit_matches_and_says_for_how_long() -> None:
    run = Run(RATE.format(per="agent"))
    assert allowed(run, "a", "b") == [True, True]
    run.now += 20
    verdict = run(call("c"))
    assert not verdict.allowed
    assert verdict.explanation == "2 calls in 60 s per agent are used up for 40.0 s"


def test_the_window_slides() -> None:
    run = Run(RATE.format(per="agent"))
    assert allowed(run, "a") == [True]
    run.now += 30
    assert allowed(run, "a", "a") == [True, False]
    run.now += 30
    assert allowed(run, "a", "a") == [True, False]
    run.now += 29.9
    assert allowed(run, "a") == [False]


def test_calls_that_were_refused_do_not_count() -> None:
    run = Run(RATE.format(per="agent"))
    assert allowed(run, *"aaaaa") == [True, True, False, False, False]
    run.now += 60
    assert allowed(run, *"aaa") == [True, True, False]


@pytest.mark.parametrize(
    "per, free",
    [
        ("agent", {"other agent"}),
        ("tool", {"other agent", "other tool"}),
        ("session", {"other session"}),
        ("org", set[str]()),
    ],
)
def test_what_is_counted_together(per: str, free: set[str]) -> None:
    run = Run(RATE.format(per=per))
    assert allowed(run, "a", "a", "a") == [True, True, False]
    others = {
        "other agent": call("a", agent="b"),
        "other tool": call("z"),
        "other session": call("a", session="s2"),
    }
    assert {
        name
        for name, action in others.items()
        if run.evaluator.evaluate(action, ledger=run.ledger, now=run.now).allowed
    } == free


def test_another_organization_has_its_own_counter() -> None:
    run = Run(RATE.format(per="org"))
    assert allowed(run, "a", "a", "a") == [True, True, False]
    assert run(Action(tool="a", organization="other")).allowed


def test_a_limit_can_be_about_some_tools() -> None:
    run = Run('{name: slow, type: rate_limit, max_calls: 1, window_seconds: 60, tools: ["send_*"]}')
    assert allowed(run, "send_a", "read", "SEND_b", "read") == [True, True, False, True]


def test_looking_does_not_count() -> None:
    run = Run(RATE.format(per="agent"))
    for _ in range(5):
        assert run.evaluator.evaluate(call("a"), ledger=run.ledger, now=run.now).allowed


@given(st.integers(1, 200), st.lists(st.floats(0, 30), max_size=300))
def test_no_window_ever_holds_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    window, now, calls = Window(limit, 60.0), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if window.count(now) < limit:
            window.add(now)
            calls.append(now)
    assert all(sum(start - 60 < t <= start for t in calls) <= limit for start in calls)


def test_threads_cannot_share_the_last_free_call() -> None:
    run = Run("{name: slow, type: rate_limit, max_calls: 100, window_seconds: 60}")
    passed: list[bool] = []

    def work() -> None:
        passed.extend(run(call("a")).allowed for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert (len(passed), sum(passed)) == (400, 100)


# Budgets


def test_a_budget_of_steps_is_used_up_by_allowed_calls() -> None:
    run = Run("{name: b, type: budget, max_steps: 2}", "{name: d, type: tool_denylist, tools: [x]}")
    assert allowed(run, "a", "x", "x", "a", "a") == [True, False, False, True, False]
    assert run(Action(direction="input", agent_id="agent-1", session_id="s1")).allowed
    assert allowed(run, "a", session="s2") == [True]


def test_a_budget_of_tokens_is_used_up_by_everything_that_used_tokens() -> None:
    run = Run("{name: b, type: budget, max_tokens: 100}")
    spend = Action(direction="output", agent_id="agent-1", session_id="s1", tokens=60)
    assert run(spend).allowed
    assert allowed(run, "a") == [True]
    assert not run(Action(direction="input", agent_id="agent-1", session_id="s1", tokens=41)).allowed
    assert run(spend).allowed
    verdict = run(call("a"))
    assert (verdict.allowed, verdict.explanation) == (
        False,
        "the budget of 100 tokens per session is used up",
    )


def test_a_budget_may_be_one_for_all_sessions_of_an_agent() -> None:
    run = Run("{name: b, type: budget, max_steps: 1, per: agent}")
    assert allowed(run, "a", session="s1") + allowed(run, "a", session="s2") == [True, False]


# Sequences


def test_the_last_step_matches_after_the_others() -> None:
    run = Run(CHAIN)
    assert allowed(run, "http_post", "read_secret", "other", "HTTP_post") == [True, True, True, False]


def test_steps_in_another_order_or_session_do_not_match() -> None:
    run = Run(CHAIN)
    assert allowed(run, "http_post", "read_secret") == [True, True]
    assert allowed(run, "http_post", session="s2") == [True]


def test_steps_count_until_the_time_is_over() -> None:
    run = Run(CHAIN)
    assert allowed(run, "read_secret") == [True]
    run.now += 300
    assert allowed(run, "http_post") == [False]
    run.now += 0.1
    assert allowed(run, "http_post") == [True]


def test_a_step_that_was_blocked_did_not_happen() -> None:
    run = Run(CHAIN, "{name: d, type: tool_denylist, tools: [read_secret]}")
    assert allowed(run, "read_secret", "http_post") == [False, True]


def test_a_call_does_not_count_for_two_steps() -> None:
    run = Run('{name: c, type: sequence, steps: ["a*", "a*", "ab"]}')
    assert allowed(run, "ab", "ab", "ab") == [True, True, False]


def test_many_calls_between_do_not_wash_a_step_away() -> None:
    run = Run(CHAIN)
    assert allowed(run, "read_secret", *[f"t{n}" for n in range(500)], "http_post")[-1] is False


@given(st.lists(st.tuples(st.sampled_from("abcx"), st.floats(0, 6)), max_size=20))
def test_a_sequence_matches_exactly_when_its_steps_lie_within_the_time(
    calls: list[tuple[str, float]],
) -> None:
    run = Run("{name: c, type: sequence, steps: [a, b, c], within_seconds: 10, action: log}")
    done: list[tuple[str, float]] = []
    for tool, gap in calls:
        run.now += gap
        starts = [
            ta
            for i, (a, ta) in enumerate(done)
            for b, _ in done[i + 1 :]
            if a == "a" and b == "b" and run.now - ta <= 10
        ]
        assert bool(run(call(tool)).matches) is (tool == "c" and bool(starts))
        done.append((tool, run.now))


# Flows


@pytest.mark.parametrize("direction", ["input", "tool_result"])
def test_content_from_a_source_taints_the_session(direction: Direction) -> None:
    run = Run(TAINT)
    assert run(SEND).allowed
    assert run(Action(direction=direction, source="web", agent_id="agent-1", session_id="s1")).allowed
    verdict = run(SEND)
    assert verdict.action == "require_approval"
    assert verdict.explanation == "tool 'send_mail' after content from web entered the session"
    assert allowed(run, "read") == [True]
    assert allowed(run, "send_mail", session="s2") == [True]


def test_a_call_of_a_source_taints_even_if_nobody_shows_its_result() -> None:
    assert allowed(Run(TAINT), "send_mail", "fetch_page", "send_mail") == [True, True, False]


def test_a_source_that_was_blocked_taints_nothing() -> None:
    run = Run(TAINT, "{name: d, type: tool_denylist, tools: ['fetch_*']}")
    assert allowed(run, "fetch_page", "send_mail") == [False, True]


def test_a_call_that_itself_carries_untrusted_content_is_a_sink_at_once() -> None:
    run = Run(TAINT)
    assert not run(Action(tool="send_mail", source="web", agent_id="agent-1", session_id="s1")).allowed
    assert run(Action(direction="input", source="chat", agent_id="agent-1", session_id="s1")).allowed
    assert allowed(run, "send_mail") == [True]


def test_agents_that_share_a_session_share_its_taint() -> None:
    run = Run(TAINT)
    assert allowed(run, "fetch_page", agent="reader") == [True]
    assert allowed(run, "send_mail", agent="writer") == [False]


def test_without_a_session_each_agent_has_a_taint_of_its_own() -> None:
    run = Run(TAINT)
    assert allowed(run, "fetch_page", session="", agent="reader") == [True]
    assert allowed(run, "send_mail", session="", agent="writer") == [True]
    assert allowed(run, "send_mail", session="", agent="reader") == [False]


def test_every_result_taints_when_tool_is_a_source() -> None:
    run = Run('{name: t, type: flow, from: [tool], to: ["tool:pay"]}')
    assert run(Action(direction="tool_result", tool="x", agent_id="agent-1", session_id="s1")).allowed
    assert allowed(run, "pay") == [False]


# Approval and replay


def test_an_approved_call_is_recorded_by_hand() -> None:
    run = Run(CHAIN, "{name: ask, type: tool_denylist, tools: [read_secret], action: require_approval}")
    action = call("read_secret")
    assert run(action).action == "require_approval"
    assert allowed(run, "http_post") == [True]
    run.evaluator.record(action, ledger=run.ledger, now=run.now)
    assert allowed(run, "http_post") == [False]


def test_in_monitor_mode_calls_happen_and_count() -> None:
    run = Run(RATE.format(per="agent"), head="mode: monitor")
    verdicts = [run(call("a")) for _ in range(4)]
    assert [(v.allowed, v.would) for v in verdicts] == [(True, "allow")] * 2 + [(True, "block")] * 2


def test_replaying_the_same_actions_gives_the_same_verdicts() -> None:
    actions = [
        (n * 7.0, call(tool))
        for n, tool in enumerate(["read_secret", "fetch_x", "send_y", "http_post", "a"] * 8)
    ]
    evaluator = judge(RATE.format(per="tool"), CHAIN, TAINT)

    def replay() -> list[str]:
        ledger = Ledger()
        return [evaluator.decide(action, ledger=ledger, now=now).explanation for now, action in actions]

    assert replay() == replay()


def test_a_clock_that_goes_back_stands_still() -> None:
    run = Run(RATE.format(per="agent"))
    assert allowed(run, "a", "a") == [True, True]
    run.now -= 5000
    assert allowed(run, "a") == [False]


def test_counting_survives_a_new_version_of_another_rule() -> None:
    ledger = Ledger()
    first = judge(RATE.format(per="agent"))
    second = judge(RATE.format(per="agent"), "{name: new, scanner: any}")
    assert [first.decide(call("a"), ledger=ledger, now=0.0).allowed for _ in range(2)] == [True, True]
    assert not second.decide(call("a"), ledger=ledger, now=0.0).allowed


# The ledger


def test_a_ledger_is_bounded_and_counts_what_it_forgot() -> None:
    ledger = Ledger(capacity=10)
    evaluator = judge("{name: b, type: budget, max_steps: 1}")
    for n in range(25):
        assert evaluator.decide(call("a", session=f"s{n}"), ledger=ledger, now=0.0).allowed
    assert (len(ledger), ledger.forgotten) == (10, 15)


def test_what_was_used_last_is_kept() -> None:
    ledger = Ledger(capacity=2)
    for key in ("a", "b"):
        ledger.note(Tally, (key,), Tally)
    assert ledger.find(Tally, ("a",)) is not None
    ledger.note(Tally, ("c",), Tally)
    assert ledger.find(Tally, ("a",)) is not None
    assert ledger.find(Tally, ("b",)) is None


def test_a_session_that_ended_can_be_forgotten() -> None:
    run = Run(
        "{name: b, type: budget, max_steps: 1}",
        "{name: r, type: rate_limit, max_calls: 9, window_seconds: 9}",
    )
    assert allowed(run, "a", "a") == [True, False]
    run.ledger.forget(session="s1")
    assert allowed(run, "a") == [True]
    assert len(run.ledger) == 2
