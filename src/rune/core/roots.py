"""Roots: who may do everything, and with what they could get in; there should always be somebody."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rune.api.orchestrator.admin import Grant, Subject
from rune.api.resource import Key, Resource
from rune.core.auth import rules_of
from rune.core.roles import is_root
from rune.core.store.base import Put, Store, Write
from rune.core.tokens import SYSTEM, Token
from rune.errors import FailedPrecondition


def keeping_a_root(store: Store, writes: list[Write]) -> list[Write]:
    """The writes, unless nobody could do everything after them who could before."""
    before = _all(store)
    lost = roots(before.values())
    if lost and not roots(_after(before, writes).values()):
        raise FailedPrecondition(
            f"{', '.join(lost)} would lose the last grant of everything, and nobody could manage this "
            "server any more: give it to somebody else first"
        )
    return writes


def keeping_a_way_in(store: Store, writes: list[Write], now: datetime) -> list[Write]:
    """The writes, unless no good token of anybody who may do everything were left, and there is one now."""
    before = _all(store)
    if _ways_in(before.values(), now) and not _ways_in(_after(before, writes).values(), now):
        raise FailedPrecondition(
            "this is the last good token that may do everything, and nothing can make another one: make one "
            "first (rune admin token create), or say force"
        )
    return writes


def roots(resources: Iterable[Resource]) -> list[str]:
    """The names of the subjects that may do everything."""
    every = list(resources)
    total = {each.name for each in every if isinstance(each, Grant) and is_root(rules_of((each,)))}
    return [each.name for each in every if isinstance(each, Subject) and total.intersection(each.policies)]


def _ways_in(resources: Iterable[Resource], now: datetime) -> list[str]:
    """The ids of the tokens that let somebody in who may do everything."""
    every = list(resources)
    ids = {each.name: each.id for each in every if isinstance(each, Subject)}
    total = set(roots(every))
    return [
        each.id
        for each in every
        if isinstance(each, Token)
        and each.subject in total
        and each.subject_id == ids[each.subject]
        and each.is_good(now)
    ]


def _all(store: Store) -> dict[Key, Resource]:
    return {each.key: each for kind in (Subject, Grant, Token) for each in store.list(kind, SYSTEM)}


def _after(before: dict[Key, Resource], writes: list[Write]) -> dict[Key, Resource]:
    after = {**before}
    for write in writes:
        if isinstance(write, Put):
            after[write.value.key] = write.value
        else:
            after.pop(write.key, None)  # what belongs to a subject is not looked at
    return after
