"""Roles: what every server starts with, and when one set of rules lies within another."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.api import OPERATIONS, Access
from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.core.access import PRIVILEGED, Principal, Rule, rule
from rune.core.auth import rules_of
from rune.core.clock import ManualClock
from rune.core.rights import KINDS
from rune.core.roles import BUILT_IN, WRITE, faults, is_root, seed, within
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM

ROLES = {
    grant.name: Principal(id=grant.name, name=grant.name, rules=rules_of((grant,))) for grant in BUILT_IN
}


async def test_the_built_in_grants_are_there_after_the_first_start_and_the_second_changes_nothing() -> None:
    async with MemoryStore(KINDS) as store:
        await seed(store, ManualClock())
        grants = store.list(Grant, SYSTEM)
        assert [each.name for each in grants] == ["admin", "readonly", "readwrite", "root"]
        assert all(each.builtin and each.id for each in grants)
        revision = store.revision
        await seed(store, ManualClock())
        assert store.revision == revision


async def test_a_built_in_grant_is_corrected_by_adding_only() -> None:
    mine = PolicyRule(resource="logs", verbs=["get"])
    async with MemoryStore(KINDS) as store:
        await store.commit(Put(Grant(name="readonly", id="mine", rules=[mine])))
        await seed(store, ManualClock())
        grant = store.get(Grant, SYSTEM, "readonly")
        assert (grant.id, grant.builtin) == ("mine", True)
        assert mine in grant.rules
        assert ROLES["readonly"].rules[0] in rules_of((grant,))


async def test_two_daemons_may_seed_one_store_at_once() -> None:
    async with MemoryStore(KINDS) as store:
        await asyncio.gather(*(seed(store, ManualClock()) for _ in range(5)))
        assert len(store.list(Grant)) == len(BUILT_IN)


@promise("access.rule")
def test_one_covering_rule_is_enough() -> None:
    ann = Principal(id="a", name="ann", rules=(rule("logs", ["get"], "prod"), rule("services", ["*"], "dev")))
    assert ann.may("logs", "get", "prod")
    assert ann.may("services", "delete", "dev")
    assert not ann.may("services", "delete", "prod")
    assert not ann.may("logs", "get", "*")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_what_the_roles_may(operation: object) -> None:
    row = next(each for each in OPERATIONS if each is operation)
    if row.access is not Access.GRANTED:
        return
    may = {name for name, role in ROLES.items() if role.may(row.resource, row.verb)}
    expected = {"root", "admin"}
    if row.verb in WRITE:
        expected.add("readwrite")
    if row.verb in ("get", "list", "watch"):
        expected.add("readonly")
    assert may == expected
    assert not (row.resource == "admin" and may & {"readwrite", "readonly"})


RULES = st.builds(
    rule,
    st.sampled_from(["*", "services", "logs"]),
    st.sets(st.sampled_from(["*", "get", "create"]), min_size=1),
    st.sampled_from(["", "*", "prod", "dev"]),
)


@given(st.lists(RULES, max_size=3), st.lists(RULES, max_size=3))
def test_what_lies_within_allows_nothing_that_the_holder_may_not(
    inner: list[Rule], outer: list[Rule]
) -> None:
    small = Principal(id="s", name="s", rules=tuple(inner))
    large = Principal(id="l", name="l", rules=tuple(outer))
    if within(inner, outer):
        for asked in product(
            ("services", "logs", "admin", "*"),
            ("get", "create", "delete", "*"),
            ("prod", "dev", "other", "*"),
        ):
            assert large.may(*asked) >= small.may(*asked)


@given(st.lists(RULES, max_size=3), st.lists(RULES, max_size=3))
def test_rules_lie_within_themselves_and_within_more_and_within_everything(
    some: list[Rule], more: list[Rule]
) -> None:
    assert within(some, some)
    assert within(some, some + more)
    assert within(some, [rule("*", ["*"])])


@pytest.mark.parametrize(
    "rules, root",
    [
        ([rule("*", ["*"])], True),
        ([rule("*", ["*", "get"], "*")], True),
        ([rule("*", ["*"], "prod")], False),
        ([rule("services", ["*"])], False),
        ([rule("*", WRITE)], False),
        ([], False),
    ],
)
def test_only_a_rule_of_everything_everywhere_is_root(rules: list[Rule], root: bool) -> None:
    assert is_root(rules) is root


def test_the_right_to_privileged_containers_can_be_granted_and_is_not_among_those_that_write() -> None:
    assert not faults([PolicyRule(resource="services", verbs=[PRIVILEGED])], "rules")
    holders = [name for name, role in ROLES.items() if role.may("services", PRIVILEGED)]
    assert sorted(holders) == ["admin", "root"]
