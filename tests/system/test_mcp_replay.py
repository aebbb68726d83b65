"""Every recorded attack and every harmless session once more, through real processes and pipes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from promises import promise
from surface.mcp.guarded import Guarded, definition, is_blocked, policy_file
from surface.mcp.test_attacks import ATTACKS, HARMLESS
from system.mcp_guards import Guard, guard

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
REPLAY = str(Path(__file__).with_name("mcp_replay.py"))
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
Json = Any


def complete(case: Json) -> Json:
    """The case with whole definitions."""
    tools = {form: definition(case[form]) for form in ("tool", "twin") if form in case}
    return {**case, **tools}


def replay(folder: Path, *cases: Json) -> tuple[str, ...]:
    """The command of a server that plays them; it is the same for all cases of a folder, as its pins are."""
    path = folder / "cases.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    return (sys.executable, REPLAY, str(path))


@promise("mcp.attacks")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_stopped_by_the_guard(tmp_path: Path, attack: Json) -> None:
    case = complete(attack)
    pins = tmp_path / "pins"
    for server, tools in attack.get("others", {}).items():
        Guarded(pins, name=server).shown(definition({"name": tool}) for tool in tools)
    options = ["--policy", found] if (found := policy_file(tmp_path, attack.get("policy"))) else []
    if "before" in attack:
        command = replay(tmp_path, {"tool": definition(attack["before"])})
        async with guard(tmp_path, command=command, RUNE_MCP_PINS=str(pins)) as here:
            assert await here.tools() == [attack["before"]["name"]]
            await here.end()
    command = replay(tmp_path, case)
    async with guard(tmp_path, *options, command=command, RUNE_MCP_PINS=str(pins)) as here:
        await STOPPED[attack["stopped"]](here, case)
        code, said = await here.end()
    assert code == 0
    assert ("CALLED" in said) == (attack["stopped"] == "result")


async def at_greeting(here: Guard, _case: Json) -> None:
    """The instructions are gone."""
    assert "instructions" not in (await here.ask("initialize", HELLO))["result"]


async def at_list(here: Guard, case: Json) -> None:
    """The tool is neither shown nor called."""
    assert await here.tools() == []
    assert await blocked(here, case)


async def at_call(here: Guard, case: Json) -> None:
    """The tool is shown, the call is stopped."""
    assert await here.tools() == [case["tool"]["name"]]
    assert await blocked(here, case)


async def at_ask(here: Guard, _case: Json) -> None:
    """The client hears nothing of the request."""
    assert (await here.ask("ping"))["result"] == {}


async def blocked(here: Guard, case: Json) -> bool:
    """The call comes back as an error that says why."""
    asked = {"name": case["tool"]["name"], "arguments": case.get("call", {})}
    return is_blocked((await here.ask("tools/call", asked))["result"])


STOPPED = {"list": at_list, "greeting": at_greeting, "call": at_call, "result": at_call, "ask": at_ask}


def batches() -> list[list[Json]]:
    """The harmless sessions, as few servers as their tools' names allow."""
    made: list[list[Json]] = []
    for param in HARMLESS:
        case = complete(param.values[0])
        name = case["tool"]["name"]
        room = next((batch for batch in made if all(name != each["tool"]["name"] for each in batch)), None)
        if room is None:
            made.append(room := [])
        room.append(case)
    return made


@promise("mcp.harmless")
@pytest.mark.parametrize("cases", batches())
async def test_harmless_sessions_pass_the_guard_untouched(tmp_path: Path, cases: list[Json]) -> None:
    async with guard(tmp_path, command=replay(tmp_path, *cases)) as here:
        assert (await here.ask("initialize", HELLO))["result"]["instructions"] == "Ask for what you need."
        for _ in range(2):
            assert (await here.ask("tools/list"))["result"] == {"tools": [case["tool"] for case in cases]}
        for case in cases:
            assert await here.call(case["tool"]["name"], **case["call"]) == case["result"]
        code, said = await here.end()
    assert (code, said.count("CALLED")) == (0, len(cases))
    assert "held back" not in said
