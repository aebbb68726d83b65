"""Rights: somebody always keeps everything, whatever happens at once; more grants never allow less."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planes import attach, caller, detach, outcomes, plane, policies
from rune.api.orchestrator import admin, auth
from rune.core.rights import Rights
from rune.core.store.base import Put
from rune.errors import FailedPrecondition, InvalidArgument

READ = admin.PolicyRule(resource="services", verbs=["get"])
EVERYTHING = admin.PolicyRule(resource="*", verbs=["*"])


async def test_the_last_subject_that_may_do_everything_keeps_it() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        with pytest.raises(FailedPrecondition, match="root would lose the last grant of everything"):
            await p.call(admin.detach_grant, detach("root", "root"), by=root)
        await p.token(root, "ann", "admin")
        await p.call(admin.detach_grant, detach("root", "root"), by=root)
        assert policies(p, "root") == []


async def test_the_last_grant_of_everything_is_neither_deleted_nor_narrowed() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.grant(root, "all", EVERYTHING)
        await p.call(admin.attach_grant, attach("all", "root"), by=root)
        await p.call(admin.detach_grant, detach("root", "root"), by=root)
        narrow = admin.PolicyUpdateRequest(policy=admin.Grant(name="all", rules=[READ]))
        with pytest.raises(FailedPrecondition, match="last grant of everything"):
            await p.call(admin.update_grant, narrow, by=root)
        with pytest.raises(FailedPrecondition, match="last grant of everything"):
            await p.call(admin.delete_grant, admin.PolicyDeleteRequest(name="all"), by=root)


@pytest.mark.parametrize("daemons", [1, 2])
async def test_two_who_take_everything_from_each_other_at_once_do_not_lock_the_server(daemons: int) -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.token(root, "ann", "root")
        several = [Rights(p.store, p.clock) for _ in range(daemons)]
        found = await outcomes(
            several[0].detach(detach("root", "root")), several[-1].detach(detach("root", "ann"))
        )
        assert sorted(found) == ["FAILED_PRECONDITION", "ok"]


RULES = st.builds(
    admin.PolicyRule,
    resource=st.sampled_from(["*", "services", "admin"]),
    verbs=st.lists(st.sampled_from(["*", "get", "create"]), min_size=1, max_size=2),
    namespace=st.sampled_from(["", "*", "prod"]),
)


@given(st.lists(RULES, max_size=3), st.lists(RULES, max_size=3))
async def test_more_grants_never_allow_less(first: list[Any], second: list[Any]) -> None:
    async with plane() as p:
        await p.store.commit(
            Put(admin.Grant(name="first", rules=first)), Put(admin.Grant(name="second", rules=second))
        )
        root = await p.bootstrap()
        text = (await p.token(root, "ann", "first")).secret
        before = p.identity.authenticate(caller(text))
        await p.call(admin.attach_grant, attach("second", "ann"), by=root)
        after = p.identity.authenticate(caller(text))
        for asked in product(("services", "admin", "logs"), ("get", "create", "*"), ("prod", "dev", "*")):
            assert after.may(*asked) >= before.may(*asked)


async def test_a_token_that_expires_is_good_for_ten_years_at_most() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        ask = auth.CreateTokenRequest(subject_name="ann", ttl_seconds=2**62)
        with pytest.raises(InvalidArgument, match="ttl_seconds: is more than ten years"):
            await p.call(auth.create_token, ask, by=root)
