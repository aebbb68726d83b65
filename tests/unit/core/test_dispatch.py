"""The one road: what happens to a call, in order, whatever edge it came from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from promises import promise
from rune.api import OPERATIONS, Access, Effect, Operation
from rune.api.fields import Message
from rune.api.orchestrator import admin, auth, logs, namespaces, services, specs
from rune.api.orchestrator import exec as commands
from rune.api.orchestrator.logs import LogRequest, LogResponse
from rune.api.orchestrator.services import (
    CreateServiceRequest,
    GetServiceRequest,
    ListServicesRequest,
    Service,
    ServiceResponse,
    WatchServicesRequest,
    WatchServicesResponse,
)
from rune.core.access import Principal, rule
from rune.core.call import Call, Caller
from rune.core.dispatch import Dispatcher
from rune.errors import (
    Internal,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    RuneError,
    Unauthenticated,
    Unimplemented,
)
from world import Everybody, Ledger, dispatcher

PROD = Principal(id="ann", name="ann", rules=(rule("services", ["get", "list", "create"], "prod"),))


def caller(who: str = "root", *, local: bool = True) -> Caller:
    return Caller(edge="local", request_id="r-7", bearer=who, is_local=local)


def asks(*requests: Message) -> AsyncIterator[Callable[[], Any]]:
    async def each() -> AsyncIterator[Callable[[], Any]]:
        for request in requests:
            yield lambda request=request: request

    return each()


class Road:
    """A dispatcher with a handler that says what it was given."""

    def __init__(self) -> None:
        self.identity = Everybody()
        self.identity.principals["ann"] = PROD
        self.ledger = Ledger()
        self.dispatcher: Dispatcher = dispatcher(self.identity, self.ledger)
        self.seen: list[tuple[Call, Message]] = []

        @self.dispatcher.handles(services.get)
        @self.dispatcher.handles(services.create)
        async def answer(call: Call, ask: Any) -> ServiceResponse:
            self.seen.append((call, ask))
            return ServiceResponse()

    async def call(self, operation: Operation[Any, Any], ask: Message, who: str = "root") -> Any:
        return await self.dispatcher.call(operation, caller(who), lambda: ask)


@pytest.fixture
def road() -> Road:
    return Road()


async def test_a_call_reaches_its_handler_with_the_namespace_spelled_out(road: Road) -> None:
    await road.call(services.get, GetServiceRequest(name="api"))
    ((call, ask),) = road.seen
    assert (call.namespace, call.principal.name) == ("default", "root")
    assert ask == GetServiceRequest(name="api", namespace="default")


async def test_the_namespace_of_a_nested_resource_counts_too(road: Road) -> None:
    ask = CreateServiceRequest(service=Service(name="api", namespace="prod"))
    await road.call(services.create, ask, "ann")
    assert road.seen[0][0].namespace == "prod"
    with pytest.raises(PermissionDenied, match="services verb: create in namespace: default"):
        await road.call(services.create, CreateServiceRequest(service=Service(name="api")), "ann")


async def test_nobody_unknown_gets_a_body_decoded(road: Road) -> None:
    def ask() -> GetServiceRequest:
        raise AssertionError("the body was decoded")

    with pytest.raises(Unauthenticated, match="invalid bearer token"):
        await road.dispatcher.call(services.get, caller("stranger"), ask)


async def test_limits_come_before_decoding(road: Road) -> None:
    road.ledger.refuse = ResourceExhausted("slow down")

    def ask() -> GetServiceRequest:
        raise AssertionError("the body was decoded")

    with pytest.raises(ResourceExhausted):
        await road.dispatcher.call(services.get, caller(), ask)


async def test_what_is_not_granted_is_denied_and_audited(road: Road) -> None:
    with pytest.raises(PermissionDenied, match="access denied for resource: services verb: get"):
        await road.call(services.get, GetServiceRequest(name="api"), "ann")
    assert road.seen == []
    assert road.ledger.audited == [("get_service", "PERMISSION_DENIED")]


async def test_changes_are_audited_and_reads_are_not(road: Road) -> None:
    await road.call(services.get, GetServiceRequest(name="api"))
    await road.call(services.create, CreateServiceRequest(service=Service(name="api")))
    assert road.ledger.audited == [("create_service", "ok")]
    assert road.ledger.observed == [("get_service", "ok"), ("create_service", "ok")]


async def test_admin_operations_are_refused_from_other_machines() -> None:
    road = dispatcher()
    with pytest.raises(PermissionDenied, match="only from localhost"):
        await road.call(admin.list_users, caller(local=False), admin.UserListRequest)


async def test_an_operation_that_is_not_supported_says_why(road: Road) -> None:
    with pytest.raises(Unimplemented, match="NetworkStatus is not supported: service networks"):
        await road.call(admin.network_status, admin.NetworkStatusRequest())


async def test_a_field_that_is_not_supported_is_refused_by_name(road: Road) -> None:
    ask = CreateServiceRequest(service=Service(name="api", volumes=[specs.VolumeMount(name="data")]))
    with pytest.raises(Unimplemented, match=r"service\.volumes is not supported"):
        await road.call(services.create, ask)
    assert road.seen == []


async def test_what_nobody_expected_is_an_internal_error_without_internals(
    road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    @road.dispatcher.handles(services.scale)
    async def broken(_call: Call, _ask: Message) -> Message:
        raise KeyError("the secret inside")

    with caplog.at_level(logging.ERROR), pytest.raises(Internal) as caught:
        await road.call(services.scale, services.ScaleServiceRequest(name="api"))
    assert "r-7" in caught.value.message
    assert "secret" not in caught.value.message
    assert caplog.records[0].exc_info
    assert road.ledger.audited == [("scale_service", "INTERNAL")]


async def test_a_public_operation_asks_for_no_credential(road: Road) -> None:
    @road.dispatcher.handles(admin.bootstrap)
    async def answer(call: Call, _ask: Message) -> Message:
        assert call.principal.id == ""
        return admin.AdminBootstrapResponse()

    await road.dispatcher.call(admin.bootstrap, caller("stranger"), admin.AdminBootstrapRequest)


LOG_INS = ["begin_oidc", "finish_oidc", "log_in", "redeem_enrollment", "refresh_session"]
"""What everybody may try: each brings its own secret."""
OWN = ["begin_session", "change_password", "log_out", "revoke_session"]
"""What everybody who is known does with their own sessions and password."""


def test_the_first_token_and_log_ins_and_health_are_the_only_public_operations() -> None:
    public = sorted(row.name for row in OPERATIONS if row.access is Access.PUBLIC)
    assert public == sorted([*LOG_INS, "bootstrap", "get_health"])


def test_every_operation_that_changes_more_than_what_is_ones_own_needs_a_grant() -> None:
    open_changes = [
        row.name for row in OPERATIONS if row.effect is not Effect.READ and row.access is not Access.GRANTED
    ]
    assert sorted(open_changes) == sorted([*LOG_INS, *OWN, "bootstrap"])


def test_operations_on_rights_need_a_rule_with_the_verb_star() -> None:
    for row in OPERATIONS:
        if row.service == "AdminService" or row in (auth.create_token, auth.revoke_token):
            assert row.verb == "*"


async def test_an_operation_has_one_handler_of_the_right_form(road: Road) -> None:
    async def unary(_call: Call, _ask: Message) -> None: ...

    with pytest.raises(ValueError, match="has a handler already"):
        road.dispatcher.handles(services.get)(unary)
    with pytest.raises(TypeError, match="wrong form"):
        road.dispatcher.handles(services.watch)(unary)


def watching(road: Road, *, endless: bool = False) -> None:
    @road.dispatcher.handles(services.watch)
    async def items(call: Call, _ask: Message) -> AsyncIterator[WatchServicesResponse]:
        road.seen.append((call, _ask))
        yield WatchServicesResponse(revision=1)
        if endless:
            await asyncio.Event().wait()
        yield WatchServicesResponse(revision=2)


async def test_a_stream_gives_its_items_and_ends(road: Road) -> None:
    watching(road)
    items = road.dispatcher.stream(services.watch, caller(), asks(WatchServicesRequest()))
    assert [item.revision async for item in items] == [1, 2]
    assert road.ledger.observed == [("watch_services", "ok")]


@promise("access.streams")
async def test_a_stream_obeys_namespace_rules(road: Road) -> None:
    watching(road)
    road.identity.principals["ann"] = Principal(
        id="ann", name="ann", rules=(rule("services", ["watch"], "prod"),)
    )
    with pytest.raises(PermissionDenied, match="namespace: default"):
        await anext(road.dispatcher.stream(services.watch, caller("ann"), asks(WatchServicesRequest())))
    everywhere = road.dispatcher.stream(
        services.watch, caller("ann"), asks(WatchServicesRequest(namespace="*"))
    )
    await anext(everywhere)
    call, _ = road.seen[0]
    assert (call.sees("prod"), call.sees("default")) == (True, False)


async def test_a_stream_ends_at_once_when_its_credential_is_lost(road: Road) -> None:
    watching(road, endless=True)
    items = road.dispatcher.stream(services.watch, caller(), asks(WatchServicesRequest()))
    assert (await anext(items)).revision == 1
    road.identity.ended["root"].set()
    with pytest.raises(Unauthenticated, match="revoked or has expired"):
        await anext(items)


async def test_a_stream_without_a_request_is_refused(road: Road) -> None:
    watching(road)
    with pytest.raises(InvalidArgument, match="ended before its first request"):
        await anext(road.dispatcher.stream(services.watch, caller(), asks()))


async def test_later_requests_of_a_stream_keep_to_the_authorized_namespace(road: Road) -> None:
    @road.dispatcher.handles(logs.stream)
    async def lines(
        _call: Call, ask: LogRequest, rest: AsyncIterator[LogRequest]
    ) -> AsyncIterator[LogResponse]:
        yield LogResponse(content=ask.resource_target)
        async for more in rest:
            yield LogResponse(content=more.resource_target)

    requests = asks(
        LogRequest(resource_target="a"),
        LogRequest(resource_target="b", namespace="default"),
        LogRequest(resource_target="c", namespace="prod"),
    )
    items = road.dispatcher.stream(logs.stream, caller(), requests)
    assert [(await anext(items)).content, (await anext(items)).content] == ["a", "b"]
    with pytest.raises(InvalidArgument, match="about namespace 'default', not 'prod'"):
        await anext(items)


async def test_a_caller_that_leaves_a_stream_ends_its_handler(road: Road) -> None:
    left = asyncio.Event()

    @road.dispatcher.handles(services.watch)
    async def items(_call: Call, _ask: Message) -> AsyncIterator[WatchServicesResponse]:
        try:
            yield WatchServicesResponse(revision=1)
            await asyncio.Event().wait()
        finally:
            left.set()

    stream = road.dispatcher.stream(services.watch, caller(), asks(WatchServicesRequest()))
    await anext(stream)
    await stream.aclose()
    assert left.is_set()
    assert road.ledger.observed == [("watch_services", "CANCELLED")]


async def test_a_command_is_audited_when_it_begins_whatever_becomes_of_it(road: Road) -> None:
    @road.dispatcher.handles(commands.run)
    async def output(_call: Call, _ask: Message) -> AsyncIterator[commands.ExecResponse]:
        assert road.ledger.audited == [("run_command", "ok")]
        yield commands.ExecResponse(stdout=b"x")
        await asyncio.Event().wait()

    stream = road.dispatcher.stream(commands.run, caller(), asks(commands.RunCommandRequest(target="api")))
    await anext(stream)
    await stream.aclose()
    assert road.ledger.audited == [("run_command", "ok")]


async def test_lists_of_namespaces_are_filtered_by_what_the_caller_may_see(road: Road) -> None:
    @road.dispatcher.handles(namespaces.list_)
    async def answer(call: Call, _ask: Message) -> Message:
        assert (call.namespace, call.sees("prod"), call.sees("default")) == ("*", True, False)
        return namespaces.ListNamespacesResponse()

    road.identity.principals["ann"] = Principal(id="ann", name="ann", rules=(rule("*", ["list"], "prod"),))
    await road.call(namespaces.list_, namespaces.ListNamespacesRequest(), "ann")


async def test_every_refusal_is_one_of_the_closed_list(road: Road) -> None:
    for ask in (ListServicesRequest(), ListServicesRequest(namespace="prod")):
        with pytest.raises(RuneError):
            await road.call(services.list_, ask)
