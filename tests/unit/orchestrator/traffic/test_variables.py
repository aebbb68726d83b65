"""What a copy is told about addresses."""

from __future__ import annotations

from typing import Any

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import DependencyRef, ProcessSpec, ServicePort
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.orchestrator.spec import Template
from rune.orchestrator.traffic import variables
from rune.orchestrator.workloads import workload

DB = Service(
    name="my-db",
    namespace="data",
    runtime="process",
    address="127.64.0.9",
    ports=[ServicePort(name="sql", port=5432, target_port=15432), ServicePort(name="web-ui", port=80)],
)
COPY = Instance(
    id="api-instance-1", namespace="default", runner="process", ip="127.64.0.1", service_name="api"
)


def spec(**fields: Any) -> Service:
    return Service(name="api", namespace="default", process=ProcessSpec(command="x"), **fields)


async def test_a_copy_is_told_its_own_address_and_ports() -> None:
    async with MemoryStore([Service]) as store:
        ports = [ServicePort(name="http", port=80, target_port=8080), ServicePort(name="admin", port=9000)]
        assert variables.around(store, COPY, spec(ports=ports)) == {
            "HOST": "127.64.0.1",
            "PORT": "8080",
            "RUNE_ADDRESS": "127.64.0.1",
            "RUNE_PORT_HTTP": "8080",
            "RUNE_PORT_ADMIN": "9000",
        }


async def test_a_copy_is_told_where_its_dependencies_are() -> None:
    async with MemoryStore([Service]) as store:
        await store.commit(Put(DB))
        asked = spec(
            dependencies=[DependencyRef(service="my-db", namespace="data"), DependencyRef(service="no")]
        )
        assert variables.around(store, COPY, asked) == {
            "RUNE_SERVICE_MY_DB_HOST": "127.64.0.9",
            "RUNE_SERVICE_MY_DB_PORT": "5432",
            "RUNE_SERVICE_MY_DB_PORT_SQL": "5432",
            "RUNE_SERVICE_MY_DB_PORT_WEB_UI": "80",
        }


async def test_a_container_is_not_told_an_address_that_it_cannot_reach() -> None:
    async with MemoryStore([Service]) as store:
        await store.commit(Put(DB))
        container = Instance(id="i", namespace="default", runner="docker")
        asked = spec(dependencies=[DependencyRef(service="my-db", namespace="data")])
        assert variables.around(store, container, asked) == {}


async def test_what_the_spec_says_itself_stands_above() -> None:
    template = Template(name="api.1", namespace="default", generation=1, spec=spec(env={"PORT": "1"}))
    asked = workload(COPY, template, {"PORT": "8080", "HOST": "127.64.0.1"})
    assert (asked.env["PORT"], asked.env["HOST"]) == ("1", "127.64.0.1")
