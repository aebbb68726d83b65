"""What can be known without a server."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import DependencyRef
from rune.manifest import graph
from rune.manifest.documents import read
from rune.manifest.lint import check, cpu, memory


def findings(text: str) -> list[str]:
    return [f"{found.severity}: {found.problem.message}" for found in check(read(text, name="f"))]


def test_a_good_file_has_no_findings() -> None:
    assert not findings("service: {name: a, command: [x], ports: [{name: http, port: 80}]}")


@pytest.mark.parametrize(
    "text, words",
    [
        ("{name: a}", "says nothing to run"),
        ("{name: a, image: i, process: {command: x}}", "not both"),
        ("{name: a, command: [x], ports: [{name: p, port: 1}, {name: p, port: 2}]}", "given twice"),
        ("{name: a, command: [x], ports: [{port: 1, protocol: sctp}]}", "neither tcp nor udp"),
        ("{name: a, command: [x], expose: {port: http}}", "no declared port"),
        ("{name: a, command: [x], health: {liveness: {type: http, path: x, port: 1}}}", "begins with /"),
        ("{name: a, command: [x], health: {liveness: {type: tcp}}}", "needs a port"),
        ("{name: a, command: [x], health: {liveness: {type: exec}}}", "needs a command"),
        ("{name: a, command: [x], resources: {cpu: {request: 2, limit: 500m}}}", "more than the limit"),
        ("{name: a, command: [x], resources: {memory: {limit: 64Xi}}}", "no amount of memory"),
        ("{name: a, command: [x], envFrom: [{prefix: X}]}", "exactly one of"),
        ("{name: a, command: [x], dependencies: [{service: b, secret: c}]}", "exactly one of"),
        ("{name: a, command: [x], dependencies: [a]}", "depends on itself: a → a"),
        ("{name: a, command: 'sleep 10'}", "did you mean to put words into `args`"),
    ],
)
def test_a_finding_says_what_is_wrong(text: str, words: str) -> None:
    (found,) = findings(f"service: {text}")
    assert words in found


def test_a_circle_is_named_once_and_a_name_may_be_declared_once() -> None:
    text = (
        "services: [{name: a, command: [x], dependencies: [b]}, {name: b, command: [x], dependencies: [a]}]"
    )
    assert [found for found in findings(text) if "→" in found] == [
        'error: service "a": dependencies: depends on itself: a → b → a'
    ]
    twice = "services: [{name: a, command: [x]}, {name: a, namespace: default, command: [x]}]"
    assert findings(twice) == ['error: service "a": is declared twice, first at f:1:12']


def test_amounts_are_read_in_their_units() -> None:
    assert (cpu("250m"), cpu("2"), cpu("0.5")) == (Decimal("0.25"), 2, Decimal("0.5"))
    assert (memory("1Ki"), memory("1.5Gi"), memory("2M"), memory("7")) == (1024, 1610612736, 2000000, 7)
    for text in ("-1", "1e3", "m", "1mm", ""):
        with pytest.raises(ValueError, match="is no amount"):
            cpu(text)


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3)))
def test_every_circle_that_is_named_is_one_and_none_is_missed(edges: dict[str, list[str]]) -> None:
    services = [
        Service(name=name, dependencies=[DependencyRef(service=needed) for needed in needs])
        for name, needs in edges.items()
    ]
    circles = graph.cycles(services)
    found = graph.graph(services)
    for circle in circles:
        assert all(
            after in found[before] for before, after in zip(circle, [*circle[1:], circle[0]], strict=True)
        )
    assert bool(circles) == _is_cyclic(found)


def _is_cyclic(edges: dict[graph.Key, list[graph.Key]]) -> bool:
    """By taking away what waits for nothing, again and again."""
    left = dict(edges)
    while free := [key for key, needs in left.items() if not any(needed in left for needed in needs)]:
        for key in free:
            del left[key]
    return bool(left)
