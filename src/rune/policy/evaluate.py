"""Judges actions by a set of compiled policies.

An Evaluator is built once per set of policies and never changes, so threads may share it. What rules
remember lives in a Ledger that is handed in, and so does the time: recorded actions can be replayed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rune.errors import InvalidArgument, Violation
from rune.policy.action import ALLOW, Action, Finding, Match, Verdict
from rune.policy.case import Case, Place
from rune.policy.compiled import CompiledPolicy, load
from rune.policy.counting import Remembers
from rune.policy.ledger import Ledger
from rune.policy.matchers import Matcher, matcher
from rune.policy.model import SEVERITY, STRICTNESS, ActionName, AnyRule
from rune.policy.names import Names, folded

__all__ = ["Action", "ActivePolicy", "Evaluator", "Finding", "Ledger", "Match", "Verdict", "load"]

MAX_PLANS = 4096
"""Places (agent, tags, tool …) whose rules are kept ready; past it all are dropped and made anew."""

MAX_KEY = 2048
"""A place with longer names than this in all is judged each time: such names are not kept."""

_INTERFERES = frozenset({"block", "require_approval", "redact"})


class ActivePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled policy that is in force, under the id and version that verdicts name."""

    policy: CompiledPolicy
    policy_id: str = ""
    """Unique in the set; the policy's name stands in for it when it is empty."""
    version: int = 0


class _Rule:
    """A rule made ready: its matcher, and the match it gives."""

    __slots__ = ("constant", "matcher", "remembers", "result")

    def __init__(self, active: ActivePolicy, rule: AnyRule) -> None:
        policy = active.policy
        self.matcher: Matcher = matcher(rule, (active.policy_id or policy.name, rule.name))
        self.constant: bool = getattr(self.matcher, "constant", False)
        self.remembers: Remembers | None = self.matcher if isinstance(self.matcher, Remembers) else None
        monitored = policy.mode == "monitor" and rule.action in _INTERFERES
        action: ActionName = "log" if monitored else rule.action
        self.result = Match(
            rule=rule.name,
            policy=policy.name,
            policy_id=active.policy_id,
            policy_version=active.version,
            severity=rule.severity,
            action=action,
            declared=rule.action,
            explanation="",
        )

    def match(self, case: Case) -> Match | None:
        why = self.matcher.judge(case)
        return None if why is None else _explained(self.result, why)


def _explained(result: Match, why: str) -> Match:
    return Match(
        rule=result.rule,
        policy=result.policy,
        policy_id=result.policy_id,
        policy_version=result.policy_version,
        severity=result.severity,
        action=result.action,
        declared=result.declared,
        explanation=why,
    )


class _Plan:
    """The rules that can matter at one place; those that only look at the place are judged already."""

    __slots__ = ("judged", "matched", "remembering", "verdict")

    def __init__(self, rules: Sequence[_Rule], place: Place) -> None:
        applying = [rule for rule in rules if rule.matcher.applies(place)]
        case = Case(Action(direction="tool_call", tool=place.tool, server=place.server), Ledger(), 0.0)
        found = (rule.match(case) for rule in applying if rule.constant)
        self.matched = tuple(match for match in found if match is not None)
        self.judged = tuple(rule for rule in applying if not rule.constant)
        self.remembering = tuple(rule.remembers for rule in applying if rule.remembers is not None)
        self.verdict = _verdict(self.matched)


class _Policy:
    """A policy made ready: whom it is for, and its rules."""

    def __init__(self, active: ActivePolicy) -> None:
        self._agents = Names(active.policy.agents or ("*",), exactly=False)
        self._tags = frozenset(map(folded, active.policy.tags))
        self.rules = [_Rule(active, rule) for rule in active.policy.rules]

    def concerns(self, agent_id: str, tags: Sequence[str]) -> bool:
        return folded(agent_id) in self._agents and (
            not self._tags or not self._tags.isdisjoint(map(folded, tags))
        )


class Evaluator:
    """The judge. Each policy judges alone; of all rules that match, the strictest decides."""

    def __init__(self, policies: Sequence[ActivePolicy]) -> None:
        """Raises InvalidArgument when two policies have the same id (or name, for those without an id)."""
        _refuse_twins(policies)
        self._policies = [_Policy(active) for active in policies]
        self._plans: dict[tuple[str, str, str, str, str, tuple[str, ...]], _Plan] = {}

    def evaluate(self, action: Action, *, ledger: Ledger | None = None, now: float = 0.0) -> Verdict:
        """The verdict, without noting that the action happens. `now` is in seconds, of the ledger's clock."""
        plan = self._plan(action)
        if not plan.judged:
            return plan.verdict
        if not plan.remembering:
            return _judged(plan, Case(action, _NOTHING, now))
        ledger = ledger if ledger is not None else Ledger()
        with ledger.lock:
            return _judged(plan, Case(action, ledger, ledger.time(now)))

    def decide(self, action: Action, *, ledger: Ledger, now: float) -> Verdict:
        """The verdict, noted in the ledger in the same breath, so that threads cannot share a last free call.

        Of an action that needs approval nothing but its tokens is noted: call `record` once it is approved.
        """
        plan = self._plan(action)
        if not plan.remembering:
            return _judged(plan, Case(action, _NOTHING, now)) if plan.judged else plan.verdict
        with ledger.lock:
            case = Case(action, ledger, ledger.time(now))
            verdict = _judged(plan, case)
            for rule in plan.remembering:
                rule.record(case, allowed=verdict.allowed)
        return verdict

    def record(self, action: Action, *, ledger: Ledger, now: float) -> None:
        """Note that an action happened whose verdict came from `evaluate`, or that was approved by a person.

        After `decide` hand in the action with `tokens=0`, since its tokens are counted already.
        """
        plan = self._plan(action)
        with ledger.lock:
            case = Case(action, ledger, ledger.time(now))
            for rule in plan.remembering:
                rule.record(case, allowed=True)

    def judge_tool(self, action: Action) -> Verdict:
        """What is known of a call from the tool's name alone; for hiding tools that can never be called."""
        return self._plan(action).verdict

    def _plan(self, action: Action) -> _Plan:
        key = (action.direction, action.tool, action.server, action.source, action.agent_id, action.tags)
        plan = self._plans.get(key)
        if plan is None:
            rules = [
                rule
                for policy in self._policies
                if policy.concerns(action.agent_id, action.tags)
                for rule in policy.rules
            ]
            plan = _Plan(rules, _place(action))
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            if sum(map(len, (*key[:-1], *action.tags))) <= MAX_KEY:
                self._plans[key] = plan
        return plan


def _place(action: Action) -> Place:
    return Place(action.direction, action.tool, folded(action.tool), action.server, action.source)


_NOTHING = Ledger(capacity=0)
"""For plans without rules that remember; nobody writes to it."""


def _judged(plan: _Plan, case: Case) -> Verdict:
    found = [match for rule in plan.judged if (match := rule.match(case)) is not None]
    return _verdict((*plan.matched, *found)) if found else plan.verdict


def _rank(match: Match) -> tuple[int, int, int]:
    return (-STRICTNESS[match.action], -STRICTNESS[match.declared], -SEVERITY[match.severity])


def _verdict(matches: tuple[Match, ...]) -> Verdict:
    """The verdict of all matches; among equals the first in the order of policies and rules speaks."""
    if not matches:
        return ALLOW
    matches = tuple(sorted(matches, key=_rank))
    first = matches[0]
    return Verdict(
        action=first.action,
        allowed=first.action not in {"block", "require_approval"},
        rule=first.rule,
        policy=first.policy,
        policy_id=first.policy_id,
        policy_version=first.policy_version,
        severity=first.severity,
        explanation=first.explanation,
        would=max((match.declared for match in matches), key=STRICTNESS.__getitem__),
        matches=matches,
    )


def _refuse_twins(policies: Sequence[ActivePolicy]) -> None:
    seen: set[str] = set()
    for index, active in enumerate(policies):
        name = active.policy_id or active.policy.name
        if name in seen:
            what = f"the policy {name!r} is there twice; give each an id or a name of its own"
            raise InvalidArgument.of([Violation(f"policies[{index}]", what)])
        seen.add(name)
