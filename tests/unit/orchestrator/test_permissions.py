"""What ListMyPermissions says of a caller."""

from __future__ import annotations

import pytest

from rune.api.orchestrator import auth, services
from rune.core.access import Principal, rule
from rune.errors import PermissionDenied, Unauthenticated
from rune.orchestrator import permissions
from world import World


def served() -> World:
    """A world that answers what callers may do."""
    here = World()
    if auth.list_permissions.name not in here.dispatcher.handled:
        permissions.register(here.dispatcher)
    return here


async def mine(here: World, who: str) -> list[str]:
    answer = await here.call(auth.list_permissions, auth.ListMyPermissionsRequest(), who)
    return answer.operations


async def test_who_may_do_everything_is_told_of_everything_that_is_handled() -> None:
    here = served()
    assert set(await mine(here, "root")) == here.dispatcher.handled


async def test_a_right_in_one_namespace_counts() -> None:
    here = served()
    here.identity.principals["ana"] = Principal(
        id="1", name="ana", rules=(rule("services", ["get"], "prod"),)
    )
    told = await mine(here, "ana")
    assert "get_service" in told
    assert "delete_service" not in told
    with pytest.raises(PermissionDenied):
        await here.call(services.delete, services.DeleteServiceRequest(name="api", namespace="prod"), "ana")


async def test_rights_are_equal_only_for_those_who_may_exactly_the_same() -> None:
    wide, narrow = rule("services", ["get"]), rule("services", ["get"], "prod")
    ana = Principal(id="1", name="ana", rules=(wide,))
    assert permissions.rights_of(ana) == permissions.rights_of(Principal(id="2", name="bob", rules=(wide,)))
    others = [
        Principal(id="1", name="ana", rules=(narrow,)),
        Principal(id="1", name="ana", rules=(wide, narrow)),
        Principal(id="1", name="ana", rules=(wide,), organization="acme"),
        Principal(id="1", name="ana", rules=(wide,), agent="bot"),
        Principal(id="1", name="ana", rules=(wide,), kind="key"),
    ]
    assert len({permissions.rights_of(each) for each in (ana, *others)}) == 6


async def test_whoever_is_known_may_ask_and_nobody_else() -> None:
    here = served()
    here.identity.principals["new"] = Principal(id="2", name="new")
    assert await mine(here, "new") == ["list_permissions"]
    with pytest.raises(Unauthenticated):
        await mine(here, "stranger")
