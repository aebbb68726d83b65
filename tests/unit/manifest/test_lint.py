"""What can be known without a server."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import DependencyRef
from rune.manifest import graph
from rune.manifest.amounts import cpu, memory
from rune.manifest.documents import read
from rune.manifest.lint import check


def findings(text: str) -> list[str]:
    return [f"{found.severity}: {found.problem.message}" for found in check(read(text, name="f"))]


def test_a_good_file_has_no_findings() -> None:
    assert not findings("service: {name: a, command: [x], ports: [{name: http, port: 80}]}")


@pytest.mark.parametrize(
    "text, words",
    [
        ("{name: a}", "says nothing to run"),
        ("{name: a, image: 'i:1', process: {command: x}}", "not both"),
        ("{name: a, command: [x], ports: [{name: p, port: 1}, {name: p, port: 2}]}", "given twice"),
        ("{name: a, command: [x], ports: [{port: 1, protocol: sctp}]}", "neither tcp nor udp"),
        ("{name: a, command: [x], ports: [1, 1]}", "the port 1 is given twice"),
        (
            "{name: a, command: [x], secretMounts: [&m {mountPath: /s, secretName: b}, *m]}",
            "/s is where secret_mounts[0] is mounted already",
        ),
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


SLIPS = [
    ("{name: a, image: nginx}", "image: names no tag"),
    ("{name: a, image: 'h:5000/nginx'}", "image: names no tag"),
    ("{name: a, image: 'nginx:latest'}", "image: latest changes by itself"),
    (
        "{name: a, command: [x], ports: [80], health: {readiness: {type: tcp, port: 81}}}",
        "health.readiness.port: asks port 81, which the service does not declare; it declares 80",
    ),
    (
        "{name: a, command: [x], health: {liveness: {type: exec, command: [y], timeoutSeconds: 20}}}",
        "health.liveness.timeoutSeconds: is longer than the time between",
    ),
    (
        "{name: a, command: [x], restartPolicy: never, health: {liveness: {type: exec, command: [y]}}}",
        "health.liveness: has no effect",
    ),
    ("{name: a, command: [x], dependencies: [b]}", "dependencies[0]: there is no service 'b' in these files"),
    (
        "{name: a, command: [x], envFrom: ['configmap:c']}",
        "envFrom[0]: there is no configmap 'c' in these files",
    ),
    ("{name: a, command: [x], env: {DB_PASSWORD: s3cr3t-x}}", "env.DB_PASSWORD: looks like a secret"),
    ("{name: a, command: [x], env: {URL: 'postgres://u:s3cr3t-x@h/d'}}", "env.URL: looks like a secret"),
    ("{name: a, command: [x], env: {A: AKIAABCDEFGHIJKLMNOP}}", "env.A: looks like a secret"),
]


@promise("lint.offline")
@pytest.mark.parametrize("text, words", SLIPS)
def test_a_slip_is_a_warning(text: str, words: str) -> None:
    (found,) = findings(f"service: {text}")
    assert found.startswith("warning: ")
    assert words in found


@pytest.mark.parametrize(
    "text",
    [
        "{name: a, image: 'nginx:1.27', ports: [80], health: {readiness: {type: http, path: /}}}",
        "{name: a, image: 'nginx@sha256:0', command: [x], dependencies: [{service: b, optional: true}]}",
        "{name: a, command: [x], envFrom: ['secret:by-hand'], env: {TOKEN_FILE: /run/t, TOKEN_TTL: '60'}}",
        "{name: a, command: [x], env: {URL: 'https://h/d', USE_PASSWORD: 'true', API_KEY: ''}}",
    ],
)
def test_what_is_meant_is_no_slip(text: str) -> None:
    assert not findings(f"service: {text}")


def test_references_are_looked_up_in_all_files_together() -> None:
    text = """
services:
- name: a
  command: [x]
  dependencies: [b, cach]
  secretMounts: [{mountPath: /s, secretName: db, items: [{key: pasword, path: p}]}]
  envFrom: [secret:dbs]
- {name: b, command: [x], scale: 0}
- {name: cache, command: [x]}
secret: {name: db, data: {password: x}}
"""
    assert [found.removeprefix('warning: service "a": ') for found in findings(text)] == [
        "dependencies[0]: waits for ever: 'b' has a scale of 0, so no copy of it is ready",
        "dependencies[1]: there is no service 'cach' in these files; did you mean 'cache'?",
        """secretMounts[0].items[0].key: secret "db" has no key 'pasword'; did you mean 'password'?""",
        "envFrom[0]: there is no secret 'dbs' in these files; did you mean 'db'?",
    ]


def test_a_spilled_secret_is_not_shown_again() -> None:
    (found,) = check(read("service:\n  name: a\n  command: [x]\n  env:\n    TOKEN: s3cr3t-x\n", name="f"))
    assert "f:5:12" in str(found.problem)
    assert "s3cr3t-x" not in str(found.problem)


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
