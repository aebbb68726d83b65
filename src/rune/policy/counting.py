"""The rules that remember: rate limits, budgets, sequences and flows. What they note lives in the ledger."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from rune.policy.action import Action
from rune.policy.case import Case, Place, shown
from rune.policy.ledger import Key, Progress, Taint, Tally, Window
from rune.policy.model import Budget, Flow, RateLimit, Sequence
from rune.policy.names import Names


@runtime_checkable
class Remembers(Protocol):
    """A matcher whose judgement depends on earlier actions."""

    def record(self, case: Case, *, allowed: bool) -> None:
        """Note the action once it is decided; only what was allowed has happened."""
        ...


class RateMatcher:
    """`rate_limit` counts calls that were allowed, in a window that slides."""

    def __init__(self, rule: RateLimit, key: Key) -> None:
        self._rule = rule
        self._tools = Names(rule.tools, exactly=False)
        self._key = (*key, "rate", str(rule.max_calls), str(rule.window_seconds))

    def applies(self, place: Place) -> bool:
        return place.is_call and place.folded in self._tools

    def judge(self, case: Case) -> str | None:
        window = case.ledger.find(Window, case.key(self._key, self._rule.per))
        if window is None or window.count(case.now) < self._rule.max_calls:
            return None
        wait = max(window.frees_at() - case.now, 0.0)
        rule = self._rule
        return (
            f"{rule.max_calls} calls in {rule.window_seconds:g} s per {rule.per} are used up for {wait:.1f} s"
        )

    def record(self, case: Case, *, allowed: bool) -> None:
        if allowed:
            rule = self._rule
            key = case.key(self._key, rule.per)
            case.ledger.note(Window, key, lambda: Window(rule.max_calls, rule.window_seconds)).add(case.now)


class BudgetMatcher:
    """`budget` counts steps (allowed calls) and tokens (all of them: they are spent), and never forgives."""

    def __init__(self, rule: Budget, key: Key) -> None:
        self._rule = rule
        self._key = (*key, "budget")

    def applies(self, place: Place) -> bool:
        return True

    def judge(self, case: Case) -> str | None:
        if case.action.direction not in {"tool_call", "input"}:
            return None  # it has happened: stopping it now would save nothing
        rule = self._rule
        tally = case.ledger.find(Tally, case.key(self._key, rule.per)) or Tally()
        if (
            rule.max_steps is not None
            and case.action.direction == "tool_call"
            and tally.steps >= rule.max_steps
        ):
            return f"the budget of {rule.max_steps} steps per {rule.per} is used up"
        if rule.max_tokens is not None and tally.tokens + max(case.action.tokens, 1) > rule.max_tokens:
            return f"the budget of {rule.max_tokens} tokens per {rule.per} is used up"
        return None

    def record(self, case: Case, *, allowed: bool) -> None:
        is_step = allowed and case.action.direction == "tool_call"
        if is_step or case.action.tokens > 0:
            tally = case.ledger.note(Tally, case.key(self._key, self._rule.per), Tally)
            tally.steps += is_step
            tally.tokens += max(case.action.tokens, 0)


class SequenceMatcher:
    """`sequence` follows calls that were allowed; one that was blocked did not happen."""

    def __init__(self, rule: Sequence, key: Key) -> None:
        self._rule = rule
        self._steps = [Names([step], exactly=False) for step in rule.steps]
        self._key = (*key, "sequence", *rule.steps)

    def _matching(self, name: str) -> list[int]:
        return [index for index, step in enumerate(self._steps) if name in step]

    def applies(self, place: Place) -> bool:
        return place.is_call and bool(self._matching(place.folded))

    def judge(self, case: Case) -> str | None:
        if case.folded not in self._steps[-1]:
            return None
        progress = case.ledger.find(Progress, case.key(self._key, self._rule.per))
        if progress is None or not progress.completes(case.now, self._rule.within_seconds):
            return None
        return f"this call completes the sequence {' → '.join(self._rule.steps)}"

    def record(self, case: Case, *, allowed: bool) -> None:
        if allowed:
            steps = len(self._steps)
            key = case.key(self._key, self._rule.per)
            progress = case.ledger.note(Progress, key, lambda: Progress(steps))
            progress.advance(self._matching(case.folded), case.now)


class FlowMatcher:
    """`flow` taints a session when a source enters it, and matches sinks from then on."""

    def __init__(self, rule: Flow, key: Key) -> None:
        self._sources = frozenset(source for source in rule.sources if not source.startswith("tool:"))
        self._tools = Names(_tools(rule.sources), exactly=False)
        self._sinks = Names(_tools(rule.sinks), exactly=False)
        self._key = (*key, "flow", *sorted(rule.sources))

    def applies(self, place: Place) -> bool:
        if place.direction == "output":
            return False
        is_sink = place.is_call and place.folded in self._sinks
        return is_sink or self._origin(place, place.folded) is not None

    def _origin(self, action: Action | Place, name: str) -> str | None:
        """What untrusted thing the action brings in. A call of a source brings its result."""
        if action.source in self._sources:
            return f"content from {action.source}"
        if action.direction == "tool_result" and "tool" in self._sources:
            return f"a result of {shown(action.tool)}"
        if action.tool and name in self._tools:
            return f"a result of {shown(action.tool)}"
        return None

    def judge(self, case: Case) -> str | None:
        action = case.action
        if action.direction != "tool_call" or case.folded not in self._sinks:
            return None
        if action.source in self._sources:
            return f"tool {shown(action.tool)} after content from {action.source} entered the session"
        taint = case.ledger.find(Taint, case.key(self._key, "session"))
        return f"tool {shown(action.tool)} after {taint.origin} entered the session" if taint else None

    def record(self, case: Case, *, allowed: bool) -> None:
        origin = self._origin(case.action, case.folded) if allowed else None
        if origin is not None:
            taint = case.ledger.note(Taint, case.key(self._key, "session"), Taint)
            if not taint.origin:
                taint.origin, taint.since = origin, case.now


def _tools(words: tuple[str, ...]) -> list[str]:
    return [word.removeprefix("tool:") for word in words if word.startswith("tool:")]
