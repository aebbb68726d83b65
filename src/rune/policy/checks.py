"""What the types of a rule's fields cannot say: known words, regexes, expressions, hosts, unique names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rune.policy.model import (
    PATTERNS,
    SCANNERS,
    SOURCES,
    AnyRule,
    ArgumentMatch,
    Budget,
    DataProtection,
    Flow,
    NetworkAllowlist,
    Scanner,
    When,
)
from rune.policy.regexes import BadRegex, searcher
from rune.policy.words import suggest

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")


class Fault(NamedTuple):
    """Something wrong in a rule: the field, seen from the rule, and how far into its text."""

    field: str
    message: str
    offset: int = 0


def faults(rule: AnyRule) -> Iterator[Fault]:
    """Everything that is wrong with one rule."""
    return _CHECKS.get(type(rule), _fine)(rule)


def repeated(rules: Sequence[AnyRule]) -> Iterator[tuple[int, int]]:
    """Index pairs of rules with the same name: the first one, and one that repeats it."""
    seen: dict[str, int] = {}
    for index, rule in enumerate(rules):
        first = seen.setdefault(rule.name, index)
        if first != index:
            yield first, index


def _fine(_: object) -> Iterator[Fault]:
    return iter(())


def _scanner(rule: Scanner) -> Iterator[Fault]:
    if rule.scanner not in SCANNERS:
        yield Fault("scanner", f"unknown scanner {rule.scanner!r}{suggest(rule.scanner, SCANNERS)}")


def _data_protection(rule: DataProtection) -> Iterator[Fault]:
    for index, pattern in enumerate(rule.patterns):
        if pattern not in PATTERNS:
            yield Fault(f"patterns[{index}]", f"unknown pattern {pattern!r}{suggest(pattern, PATTERNS)}")


def _argument_match(rule: ArgumentMatch) -> Iterator[Fault]:
    if (rule.matches is None) is (rule.not_matches is None):
        yield Fault("", "needs exactly one of matches and not_matches")
    if rule.optional and rule.not_matches is None:
        yield Fault("optional", "only means something with not_matches")
    for field, pattern in (("matches", rule.matches), ("not_matches", rule.not_matches)):
        try:
            searcher(pattern or "")
        except BadRegex as error:
            yield Fault(field, f"not a regular expression: {error}")


def _budget(rule: Budget) -> Iterator[Fault]:
    if rule.max_steps is None and rule.max_tokens is None:
        yield Fault("", "needs max_steps, max_tokens or both")


def _flow(rule: Flow) -> Iterator[Fault]:
    for index, source in enumerate(rule.sources):
        if source not in SOURCES and not _is_tool(source):
            known = suggest(source, SOURCES)
            yield Fault(f"from[{index}]", f"unknown source {source!r}{known} For a tool write tool:NAME")
    for index, sink in enumerate(rule.sinks):
        if not _is_tool(sink):
            yield Fault(
                f"to[{index}]", f'{sink!r} is not a tool; write "tool:{sink.removeprefix("tool:") or "NAME"}"'
            )


def _is_tool(word: str) -> bool:
    return word.startswith("tool:") and len(word) > len("tool:")


def _network(rule: NetworkAllowlist) -> Iterator[Fault]:
    from rune.policy.hosts import Hosts  # noqa: PLC0415 - only policies about the network pay

    for index, domain in enumerate(rule.domains):
        try:
            Hosts([domain])
        except ValueError as error:
            yield Fault(f"domains[{index}]", f"{domain!r} is not a host: {error}")
    for index, scheme in enumerate(rule.schemes):
        if not _SCHEME.fullmatch(scheme):
            yield Fault(
                f"schemes[{index}]", f"{scheme!r} is not a scheme; write it without ://, in lower case"
            )


def _when(rule: When) -> Iterator[Fault]:
    from rune.policy.expressions import Expression  # noqa: PLC0415 - only policies with a condition pay
    from rune.policy.grammar import BadExpression  # noqa: PLC0415 - imported by who uses it

    try:
        Expression(rule.when)
    except BadExpression as error:
        yield Fault("when", str(error), error.offset)


_CHECKS: dict[type, Callable[[Any], Iterator[Fault]]] = {
    Scanner: _scanner,
    DataProtection: _data_protection,
    ArgumentMatch: _argument_match,
    Budget: _budget,
    Flow: _flow,
    NetworkAllowlist: _network,
    When: _when,
}
