"""Roles: the grants that every server has, and what it means that one set of rules lies within another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from rune.api import OPERATIONS
from rune.api.fields import LABEL
from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.core.access import ANY, PRIVILEGED, USE, Rule, space
from rune.core.clock import Clock
from rune.core.settle import settle
from rune.core.store.base import Put, Store
from rune.core.tokens import SYSTEM
from rune.errors import Violation

READ: Final = ("get", "list", "watch")
WRITE: Final = (*READ, "create", "update", "delete", "scale", "exec", "port-forward")

ROOT: Final = "root"
READONLY: Final = "readonly"


def _everywhere(name: str, description: str, verbs: Sequence[str]) -> Grant:
    rules = [PolicyRule(resource=ANY, verbs=list(verbs), namespace=ANY)]
    return Grant(name=name, description=description, rules=rules, builtin=True)


BUILT_IN: Final = (
    _everywhere(ROOT, "Everything, everywhere. The first token of a server has it.", [ANY]),
    _everywhere("admin", "Everything, everywhere: for people who look after the server.", [ANY]),
    # None of their verbs covers `admin:*` or `auth:*`: who may create everything still creates no rights.
    _everywhere("readwrite", "Runs and changes whatever runs, and gives nobody any rights.", WRITE),
    _everywhere(READONLY, "Sees everything but the values of secrets, and changes nothing.", READ),
)
"""What `seed` makes sure of."""


async def seed(store: Store, clock: Clock) -> None:
    """Create what is missing of the built-in grants, and add what rules they lack; nothing is taken away."""
    await settle(
        store,
        lambda: [Put(grant) for each in BUILT_IN if (grant := _seeded(store, clock, each)) is not None],
        operation="seed_grants",
    )


def _seeded(store: Store, clock: Clock, wanted: Grant) -> Grant | None:
    """The built-in grant as it should be stored, None when it is."""
    stored = store.find(Grant, SYSTEM, wanted.name)
    if stored is None:
        return msgspec.structs.replace(wanted, id=clock.new_id())
    lacking = [rule for rule in wanted.rules if rule not in stored.rules]
    if stored.builtin and not lacking:
        return None
    return msgspec.structs.replace(stored, builtin=True, rules=[*stored.rules, *lacking])


RESOURCES: Final = frozenset(row.resource for row in OPERATIONS) | {ANY}
VERBS: Final = frozenset(row.verb for row in OPERATIONS) | {ANY, PRIVILEGED, USE}


def faults(rules: Sequence[PolicyRule], path: str) -> list[Violation]:
    """What keeps the rules from ever meaning anything: a word that no operation has, a bad namespace."""
    found: list[Violation] = []
    for number, each in enumerate(rules):
        where = f"{path}[{number}]"
        found += _unknown(each.resource, RESOURCES, f"{where}.resource")
        for place, verb in enumerate(each.verbs):
            found += _unknown(verb, VERBS, f"{where}.verbs[{place}]")
        if each.namespace not in ("", ANY) and not re.fullmatch(
            LABEL, each.namespace.removeprefix(space(""))
        ):
            said = "is the name of a namespace, `org:` and that of an organization, or `*` for all"
            found.append(Violation(f"{where}.namespace", said))
    return found


def _unknown(word: str, known: frozenset[str], where: str) -> list[Violation]:
    if word in known:
        return []
    nearest = get_close_matches(word, sorted(known), n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(sorted(known))}"
    return [Violation(where, f"{word!r} is not in any permission; {hint}")]


def within(rules: Iterable[Rule], holder: Sequence[Rule]) -> bool:
    """Whoever has the holder's rules may do all that these rules allow.

    Verb by verb, one of the holder's rules must cover it: a `*` lies only within a `*`, even if every word
    there is today were listed.
    """
    return all(
        any(
            mine.resource in (ANY, each.resource)
            and (ANY in mine.verbs or verb in mine.verbs)
            and mine.namespace in (ANY, each.namespace)
            for mine in holder
        )
        for each in rules
        for verb in each.verbs
    )


def is_root(rules: Iterable[Rule]) -> bool:
    """One of them allows everything, everywhere."""
    return any(each.resource == ANY and ANY in each.verbs and each.namespace == ANY for each in rules)
