"""Weak spots 10 to 15, 24 and 26: files and commands, as people write them, against a real runed.

tests/weak_spots.py lists all of them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from commands import rune
from promises import promise
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

LONGEST = "a" * 62 + "z"

WHOLE: dict[str, Any] = {
    "name": "api",
    "scale": 2,
    "labels": {"team": "shop"},
    "process": {
        "command": "sleep",
        "args": ["1000"],
        "securityContext": {"readOnlyFs": False, "maxProcesses": 64},
    },
    "restartPolicy": "on-failure",
    "env": {"A": "1"},
    "ports": [{"name": "http", "port": 18080, "targetPort": 8080, "protocol": "tcp"}],
    "health": {
        "liveness": {
            "type": "exec",
            "command": ["true"],
            "failureThreshold": 7,
            "successThreshold": 1,
            "periodSeconds": 3,
        },
        "readiness": {
            "type": "exec",
            "command": ["true"],
            "failureThreshold": 5,
            "successThreshold": 2,
            "initialDelaySeconds": 1,
            "periodSeconds": 1,
            "timeoutSeconds": 4,
        },
    },
    "drainSeconds": 2,
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


async def done(server: Runed, *words: str, text: str = "") -> str:
    """What a command says that must end well."""
    code, said = await rune(server, *words, text=text)
    assert code == 0, said
    return said


def sleeper(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "scale": 1, "command": ["sleep", "1000"]} | fields


def within(small: Any, large: Any, at: str = "") -> list[str]:
    """Where the large value lacks something of the small one."""
    if isinstance(small, dict):
        pairs = cast("dict[str, Any]", small)
        if not isinstance(large, dict):
            return [at]
        there = cast("dict[str, Any]", large)
        return [miss for key, value in pairs.items() for miss in within(value, there.get(key), f"{at}.{key}")]
    if isinstance(small, list) and isinstance(large, list):
        items = zip(cast("list[Any]", small), cast("list[Any]", large), strict=True)
        return [miss for one, other in items for miss in within(one, other, f"{at}[]")]
    if isinstance(small, str) and isinstance(large, str) and large.endswith(small.upper().replace("-", "_")):
        return []  # the name of an enum's value
    return [] if small == large else [f"{at}: {large!r} for {small!r}"]


@promise("weak-spot.10")
async def test_10_every_field_of_a_file_arrives_and_is_shown_again(server: Runed) -> None:
    await done(server, "cast", "-", text=yaml.safe_dump({"service": WHOLE}))
    shown = json.loads(await done(server, "get", "services", "api", "-o", "json"))
    assert within(WHOLE, shown) == []
    assert "unchanged" in await done(server, "cast", "-", text=yaml.safe_dump({"service": WHOLE}))


@promise("weak-spot.11")
async def test_11_every_document_of_a_file_is_cast_and_every_one_of_each(server: Runed) -> None:
    documents = [
        {"service": sleeper("first")},
        {"configmap": {"name": "settings", "data": {"A": "1"}}},
        {"services": [sleeper("second"), sleeper("third")]},
        {"service": sleeper("last")},
    ]
    await done(server, "cast", "-", text=yaml.safe_dump_all(documents))
    assert "settings" in await done(server, "get", "configmaps")
    shown = await done(server, "get", "services", "--no-headers")
    assert [line.split()[0] for line in shown.splitlines()] == ["first", "last", "second", "third"]


@promise("weak-spot.12")
async def test_12_a_name_may_have_all_its_sixty_three_letters(server: Runed) -> None:
    for name in ("a" * 25, "a" * 26, LONGEST):
        await done(server, "cast", "-", text=yaml.safe_dump({"service": sleeper(name)}))
        assert name in await done(server, "get", "services", name)
    assert LONGEST in await done(server, "status")
    code, said = await rune(server, "cast", "-", text=yaml.safe_dump({"service": sleeper(LONGEST + "x")}))
    assert code != 0
    assert "Traceback" not in said
    assert "63" in said


@promise("weak-spot.13")
async def test_13_no_line_is_an_answer_and_logs_that_are_not_followed_end_at_once(server: Runed) -> None:
    await server.cast("api", ["sh", "-c", "echo one; echo two; exec sleep 1000"])
    assert await server.lines("api", 2) == ["one", "two"]
    assert await done(server, "logs", "api", "--tail", "0") == ""
    began = time.monotonic()
    assert await done(server, "logs", "api", "--tail", "1", "--no-prefix") == "two\n"
    took = time.monotonic() - began
    began = time.monotonic()
    await done(server, "get", "services")
    assert took < time.monotonic() - began + 3, "more than any other command takes"


@promise("weak-spot.14")
@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_14_the_exit_code_of_what_was_run_inside_is_the_exit_code_here(
    server: Runed, code: int
) -> None:
    await server.cast("api", ["sleep", "1000"])
    await server.until_running("api")
    found, said = await rune(server, "exec", "-T", "api", "sh", "-c", f"echo ran; exit {code}")
    assert (found, said) == (code, "ran\n")


@promise("weak-spot.15")
async def test_15_a_deletion_now_waits_for_nothing_that_its_copies_do(server: Runed) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
    await server.cast("api", stubborn, drain_seconds=3000)
    await server.lines("api", 1)
    copy = (await server.until_running("api")).instances[0]
    await done(server, "delete", "api", "--now", "--yes", "--timeout", "20s")
    assert not Path(f"/proc/{copy.pid}").exists()
    assert "api" not in await done(server, "get", "services")


@promise("weak-spot.24")
async def test_24_each_option_does_what_it_says(server: Runed) -> None:
    file = yaml.safe_dump({"service": sleeper("api")})
    await done(server, "cast", "-", text=file)
    (before,) = await server.copies("api")
    await done(server, "cast", "-", text=file)
    assert [copy.pid for copy in await server.copies("api")] == [before.pid]
    await done(server, "cast", "-", "--force", text=file)
    (renewed,) = (await server.until_running("api")).instances
    assert renewed.pid != before.pid
    await done(server, "cast", "-", "--tag", "v7", text=file)
    assert (await server.service("api")).labels["rune/deployment-tag"] == "v7"
    with_headings = await done(server, "get", "services")
    without = await done(server, "get", "services", "--no-headers")
    assert with_headings.splitlines()[0].startswith("NAME")
    assert [line.split()[0] for line in without.splitlines()] == ["api"]


@promise("weak-spot.24")
async def test_24_a_scaling_whose_copies_fail_returns_where_that_is_asked_for(
    server: Runed, tmp_path: Path
) -> None:
    place = tmp_path / "taken"
    script = f"mkdir {place} || exit 1; exec sleep 1000"  # there is room for one
    await server.cast("api", ["sh", "-c", script])
    (first,) = (await server.until_running("api")).instances
    code, said = await rune(server, "scale", "api", "2", "--rollback-on-fail", "--timeout", "60s")
    assert code != 0, said
    service = await server.until("api", lambda seen: seen.scale == 1 and len(seen.instances) == 1)
    assert [(copy.id, copy.pid) for copy in service.instances] == [(first.id, first.pid)]


@promise("weak-spot.26")
async def test_26_a_cast_ends_when_what_it_cast_is_ready_and_fails_when_that_fails(
    server: Runed, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    probe = {"type": "exec", "command": ["test", "-e", str(gate)], "periodSeconds": 1}
    command = ["sh", "-c", "echo up; exec sleep 1000"]
    waits = yaml.safe_dump({"service": sleeper("waits", command=command, health={"readiness": probe})})
    async with asyncio.TaskGroup() as group:
        cast = group.create_task(done(server, "cast", "-", text=waits))
        await server.until_there("waits")
        assert await server.lines("waits", 1) == ["up"]
        assert not cast.done()
        gate.touch()
    assert (await server.service("waits")).instances[0].ready
    broken = sleeper("fails", command=["sh", "-c", "exit 3"], health={"readiness": probe})
    fails = yaml.safe_dump({"service": broken})
    code, said = await rune(server, "cast", "-", "--timeout", "30s", text=fails)
    assert code != 0
    assert "exit" in said
