"""One class per type of rule: what it is about, whether it matches, and what it must remember.

A matcher is asked in two steps. `applies` sees only the Place, which is the same for many actions, so its
answer is kept; `judge` sees the whole Case and returns why the rule matches, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rune.policy.case import DIRECTIONS, Case, Place, shown
from rune.policy.counting import BudgetMatcher, FlowMatcher, RateMatcher, SequenceMatcher
from rune.policy.ledger import Key
from rune.policy.model import (
    SCANNERS,
    AnyRule,
    ArgumentMatch,
    Budget,
    DataProtection,
    Flow,
    NetworkAllowlist,
    RateLimit,
    Scanner,
    Sequence,
    ToolAllowlist,
    ToolDenylist,
    When,
)
from rune.policy.names import Names, folded
from rune.policy.regexes import Search, searcher
from rune.policy.values import Opaque, as_text, leaves, values_at


class Matcher(Protocol):
    """What the evaluator asks of a rule."""

    def applies(self, place: Place) -> bool:
        """Whether an action at this place can match, or be counted."""
        ...

    def judge(self, case: Case) -> str | None:
        """Why the rule matches, as a sentence for people; None when it does not."""
        ...


class ScannerMatcher:
    """`scanner:` looks for the surest finding of its type."""

    def __init__(self, rule: Scanner) -> None:
        kind = SCANNERS[rule.scanner]
        self._directions = frozenset({"tool_call"}) if kind == "tool_call" else DIRECTIONS[rule.direction]
        self._kind = "any" if kind == "tool_call" else kind
        self._least = rule.min_confidence

    def applies(self, place: Place) -> bool:
        return place.direction in self._directions

    def judge(self, case: Case) -> str | None:
        found = case.strongest(self._kind)
        if found is None or found.confidence < self._least:
            return None
        by = f" by {found.rule}" if found.rule else ""
        return f"{found.type} found{by} with confidence {found.confidence:.2f}"


class DataProtectionMatcher:
    """`data_protection` looks for findings of personal data by kind."""

    def __init__(self, rule: DataProtection) -> None:
        self._directions = DIRECTIONS[rule.direction]
        self._patterns = rule.patterns
        self._least = rule.min_confidence

    def applies(self, place: Place) -> bool:
        return place.direction in self._directions

    def judge(self, case: Case) -> str | None:
        for pattern in self._patterns:
            found = case.strongest(f"pii:{pattern}")
            if found is not None and found.confidence >= self._least:
                return f"personal data found: {pattern}"
        return None


class AllowlistMatcher:
    """`tool_allowlist` compares as written: what is allowed must be spelt exactly."""

    constant = True

    def __init__(self, rule: ToolAllowlist) -> None:
        self._names = Names(rule.tools, exactly=True)
        self._server = folded(rule.server)

    def applies(self, place: Place) -> bool:
        on_server = not self._server or folded(place.server) == self._server
        return place.is_call and on_server and place.tool not in self._names

    def judge(self, case: Case) -> str | None:
        return f"tool {shown(case.action.tool)} is not on the allowlist"


class DenylistMatcher:
    """`tool_denylist` compares in any case and width: no spelling gets around it."""

    constant = True

    def __init__(self, rule: ToolDenylist) -> None:
        self._names = Names(rule.tools, exactly=False)
        self._server = folded(rule.server)

    def applies(self, place: Place) -> bool:
        on_server = not self._server or folded(place.server) == self._server
        return place.is_call and on_server and place.folded in self._names

    def judge(self, case: Case) -> str | None:
        return f"tool {shown(case.action.tool)} is on the denylist"


class ArgumentMatcher:
    """`argument_match` reads one argument, or with `*` all of them, and every value inside it."""

    def __init__(self, rule: ArgumentMatch) -> None:
        self._tools = Names([rule.tool], exactly=False)
        self._argument = rule.argument
        self._needs = rule.not_matches is not None
        self._optional = rule.optional or rule.argument == "*"
        self._search: Search = searcher(rule.not_matches or rule.matches or "")

    def applies(self, place: Place) -> bool:
        return place.is_call and place.folded in self._tools

    def judge(self, case: Case) -> str | None:
        name = self._argument
        found = [case.arguments] if name == "*" else values_at(case.arguments, name)
        if not found:
            return f"argument {name} is missing" if self._needs and not self._optional else None
        for value in found:
            # An empty list or mapping holds nothing that could be wrong.
            for leaf in leaves(value):
                if why := self._wrong(leaf.value):
                    return f"argument {name} {why}"
        return None

    def _wrong(self, leaf: object) -> str | None:
        text = as_text(leaf)
        if text is None:
            return f"cannot be judged: {leaf.reason}" if isinstance(leaf, Opaque) else "cannot be judged"
        if self._needs:
            return None if all(map(self._search, _forms(text))) else "is not of the form that is allowed"
        return "is of a form that is not allowed" if any(map(self._search, _forms(text))) else None


def _forms(text: str) -> tuple[str, ...]:
    """The text, and for a path with `.` or `..` in it the place where it leads."""
    if "/." not in text and "//" not in text and "\\" not in text:
        return (text,)
    import posixpath  # noqa: PLC0415 - loaded by Python itself, named here where it is used

    return (text, posixpath.normpath(text.replace("\\", "/")))


class NetworkMatcher:
    """`network_allowlist` reads every URL in the arguments the way a hostile reader would."""

    def __init__(self, rule: NetworkAllowlist) -> None:
        from rune.policy.hosts import Hosts  # noqa: PLC0415 - only policies about the network pay

        self._tools = Names(rule.tools, exactly=False)
        self._hosts = Hosts(list(rule.domains))
        self._schemes = frozenset({*rule.schemes, ""})

    def applies(self, place: Place) -> bool:
        return place.is_call and place.folded in self._tools

    def judge(self, case: Case) -> str | None:
        for place in case.hosts:
            if place.scheme not in self._schemes:
                return f"a URL with the scheme {shown(place.scheme)}, which is not allowed"
            if place not in self._hosts:
                what = (
                    f"that cannot be read for sure: {place.doubt}"
                    if place.doubt
                    else f"to {shown(place.host)}"
                )
                return f"a URL {what}" + ("" if place.doubt else ", which is not on the allowlist")
        return None


class WhenMatcher:
    """`when` evaluates an expression; values that it cannot judge count as a match, absent ones do not."""

    def __init__(self, rule: When) -> None:
        from rune.policy.expressions import Expression  # noqa: PLC0415 - only policies with a condition pay

        self._expression = Expression(rule.when)
        self._directions = DIRECTIONS[rule.direction]

    def applies(self, place: Place) -> bool:
        if place.direction not in self._directions:
            return False
        return self._expression.may_hold({"name": place.tool, "server": place.server})

    def judge(self, case: Case) -> str | None:
        return self._expression.why(case.scope)


_STATELESS: dict[type, Callable[[Any], Matcher]] = {
    Scanner: ScannerMatcher,
    DataProtection: DataProtectionMatcher,
    ToolAllowlist: AllowlistMatcher,
    ToolDenylist: DenylistMatcher,
    ArgumentMatch: ArgumentMatcher,
    NetworkAllowlist: NetworkMatcher,
    When: WhenMatcher,
}
_COUNTING: dict[type, Callable[[Any, Key], Matcher]] = {
    RateLimit: RateMatcher,
    Budget: BudgetMatcher,
    Sequence: SequenceMatcher,
    Flow: FlowMatcher,
}


def matcher(rule: AnyRule, key: Key) -> Matcher:
    """The matcher of a rule; `key` names the rule in the ledger."""
    make = _STATELESS.get(type(rule))
    return make(rule) if make else _COUNTING[type(rule)](rule, key)
