"""What services use: sums over their instances, in the units that people read."""

from __future__ import annotations

import pytest

from rune.api.orchestrator.instances import Instance, InstanceUsage
from rune.cli.top import SORTS, Row, amount, by_service


def copy(service: str, number: int, cpu: float, memory: int, limit: int = 0) -> Instance:
    usage = InstanceUsage(cpu_percent=cpu, mem_used_bytes=memory, mem_limit_bytes=limit)
    return Instance(id=f"{service}-{number}", namespace="default", service_name=service, usage=usage)


def test_a_service_uses_what_its_instances_use_together() -> None:
    found = [copy("a", 1, 10.04, 100, 500), copy("b", 1, 50.0, 7), copy("a", 2, 20.0, 200, 500)]
    assert sorted(by_service(found), key=SORTS["cpu"]) == [
        Row(namespace="default", service="b", instances=1, cpu_percent=50.0, mem_used_bytes=7),
        Row(
            namespace="default",
            service="a",
            instances=2,
            cpu_percent=30.0,
            mem_used_bytes=300,
            mem_limit_bytes=1000,
        ),
    ]


def test_services_are_sorted_by_what_was_asked_for() -> None:
    rows = by_service([copy("b", 1, 1.0, 9), copy("a", 1, 2.0, 5)])
    order = {name: [row.service for row in sorted(rows, key=by)] for name, by in SORTS.items()}
    assert order == {"cpu": ["a", "b"], "memory": ["b", "a"], "name": ["a", "b"]}


def test_a_limit_that_one_instance_has_not_is_none_of_the_service() -> None:
    assert by_service([copy("a", 1, 1.0, 1, 10), copy("a", 2, 1.0, 1)])[0].mem_limit_bytes == 0


@pytest.mark.parametrize(
    "size, said", [(0, "0"), (1023, "1023"), (1 << 10, "1Ki"), (64 << 20, "64Mi"), (3 << 29, "1.5Gi")]
)
def test_memory_is_said_in_the_largest_unit(size: int, said: str) -> None:
    assert amount(size) == said
