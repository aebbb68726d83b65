"""What may be exposed, and where; who has a place keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from rune.api.orchestrator import services as api
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import (
    ExposeServiceTLS,
    ServiceDiscovery,
    ServiceExpose,
    ServicePort,
)
from rune.errors import FailedPrecondition, InvalidArgument, Unimplemented
from rune.orchestrator.traffic.exposure import Place, place_of
from world import World, world

PORTS = [
    ServicePort(name="http", port=80, target_port=8080),
    ServicePort(name="dns", port=53, protocol="udp"),
]


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.mark.parametrize(
    "expose, field",
    [
        (ServiceExpose(), "expose.port"),
        (ServiceExpose(port="https"), "expose.port"),
        (ServiceExpose(port="dns"), "expose.port"),
        (ServiceExpose(port="80", host_port=70_000), "expose.host_port"),
        (ServiceExpose(port="80", host="api.example.com"), "expose.host"),
        (ServiceExpose(port="80", allow_cidrs=["10.0.0.0/8", "10.0.0.1/8"]), r"expose.allow_cidrs\[1\]"),
    ],
)
async def test_an_exposure_that_cannot_be_is_refused_by_field(
    here: World, expose: ServiceExpose, field: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"^service.{field}: "):
        await here.cast("web", ports=PORTS, expose=expose)


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"expose": ServiceExpose(port="80", path="/api")}, "service.expose.path"),
        ({"expose": ServiceExpose(port="80", tls=ExposeServiceTLS(auto=True))}, "service.expose.tls.auto"),
        (
            {"discovery": ServiceDiscovery(locality_preference="node")},
            "service.discovery.locality_preference",
        ),
    ],
)
async def test_what_is_not_supported_is_refused_by_name(
    here: World, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(Unimplemented, match=f"{named} is not supported"):
        await here.cast("web", ports=PORTS, **fields)


async def test_a_mode_of_discovery_that_there_is_not_is_refused(here: World) -> None:
    with pytest.raises(InvalidArgument, match=r"service\.discovery\.mode: must be one of least-connections"):
        await here.cast("web", ports=PORTS, discovery=ServiceDiscovery(mode="dns"))


def test_an_exposure_says_where_it_is() -> None:
    exposed = Service(name="web", ports=PORTS, expose=ServiceExpose(port="http"))
    assert place_of(exposed) == Place("127.0.0.1", 80)
    exposed = Service(name="web", ports=PORTS, expose=ServiceExpose(port="80", host="::", host_port=8080))
    assert str(place_of(exposed)) == "[::]:8080"
    assert place_of(Service(name="web", ports=PORTS)) is None


@pytest.mark.parametrize("host", ["", "127.0.0.1", "0.0.0.0"])  # noqa: S104 - what the test is about
async def test_a_place_that_another_service_has_is_refused_and_the_other_named(
    here: World, host: str
) -> None:
    await here.cast("one", ports=PORTS, expose=ServiceExpose(port="http"))
    with pytest.raises(
        FailedPrecondition, match=r":80 is taken: service default/one is exposed at 127.0.0.1:80"
    ):
        await here.cast("two", ports=PORTS, expose=ServiceExpose(port="http", host=host))
    await here.cast("two", ports=PORTS, expose=ServiceExpose(port="http", host="127.0.0.2"))


async def test_a_service_may_keep_its_place_when_it_changes(here: World) -> None:
    await here.cast("one", ports=PORTS, expose=ServiceExpose(port="http"))
    process, expose = here.service("one").process, ServiceExpose(port="http")
    spec = Service(name="one", scale=2, process=process, ports=PORTS, expose=expose)
    await here.call(api.update, api.UpdateServiceRequest(service=spec))


async def test_a_service_with_ports_has_an_address_and_each_of_its_copies_another(here: World) -> None:
    await here.cast("web", scale=2, ports=PORTS)
    await here.until(lambda: len(here.copies("web")) == 2)
    addresses = {here.service("web").address, *(copy.ip for copy in here.copies("web"))}
    assert len(addresses) == 3
    assert all(address.startswith("127.") for address in addresses)
    answer = await here.call(api.get, api.GetServiceRequest(name="web"))
    assert answer.service
    assert answer.service.discovery
    assert answer.service.discovery.vip == here.service("web").address


async def test_an_answer_sent_back_changes_nothing(here: World) -> None:
    await here.cast("web", ports=PORTS)
    await here.until(lambda: here.copies("web"))
    answer = await here.call(api.get, api.GetServiceRequest(name="web"))
    assert answer.service
    again = msgspec.structs.replace(answer.service, revision=0)
    await here.call(api.update, api.UpdateServiceRequest(service=again))
    metadata = here.service("web").metadata
    assert metadata
    assert metadata.generation == 1


async def test_a_service_without_ports_has_none(here: World) -> None:
    await here.cast("job")
    await here.until(lambda: here.copies("job"))
    assert here.service("job").address == here.copies("job")[0].ip == ""
