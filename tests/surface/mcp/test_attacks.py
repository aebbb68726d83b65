"""Attacks by way of MCP servers are stopped, and harmless sessions are left as they are."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pytest
import yaml

from promises import promise
from rune.mcp.proxy.texts import texts
from surface.mcp.guarded import Guarded, definition, is_blocked, policy_file

pytestmark = promise("mcp.attacks")

RULES = [
    *(file for file in (files("rune.policy") / "rules").iterdir() if file.name.endswith(".yaml")),
    files("rune.toolbox") / "rules.yaml",
]
DATA = Path(__file__).parents[2] / "data"
Json = Any


def recorded(name: str) -> list[Any]:
    """The cases of a file, each under its name."""
    cases: list[Json] = yaml.safe_load((DATA / name).read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in cases]


ATTACKS = recorded("mcp_attacks.yaml")
HARMLESS = recorded("mcp_harmless.yaml")


def test_there_are_enough_of_both() -> None:
    assert len(ATTACKS) >= 30
    assert len(HARMLESS) >= 100
    kinds = {case.values[0]["kind"] for case in ATTACKS}
    assert kinds == {"poisoning", "rug pull", "shadowing", "exfiltration", "injection", "unicode"}


def test_attacks_are_worded_otherwise_than_the_rules() -> None:
    """Five words in a row would be an attack that a rule was written after; single letters are none."""
    taught = {run for file in RULES for text in taught_by(file) for run in runs(text)}
    shared = {
        case.id: found for case in ATTACKS if (found := taught & runs("\n".join(texts(case.values[0]))))
    }
    assert shared == {}


def taught_by(file: Traversable) -> list[str]:
    """The examples that a file's rules must find."""
    rules: list[Json] = yaml.safe_load(file.read_text("utf-8"))["rules"]
    return [str(text) for rule in rules for text in rule.get("examples", {}).get("match", [])]


def runs(text: str) -> set[tuple[str, ...]]:
    """All runs of five words."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


@promise("mcp.attacks")
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_stopped(tmp_path: Path, attack: Json) -> None:
    pins = tmp_path / "pins"
    for server, tools in attack.get("others", {}).items():
        Guarded(pins, name=server).shown(definition({"name": tool}) for tool in tools)
    if "before" in attack:
        assert Guarded(pins).shown([definition(attack["before"])]) == [attack["before"]["name"]]
    STOPPED[attack["stopped"]](Guarded(pins, policy=policy_file(tmp_path, attack.get("policy"))), attack)


def at_list(guarded: Guarded, attack: Json) -> None:
    """The tool is neither shown nor called, and the reason is told."""
    tool = definition(attack["tool"])
    harmless = definition({"name": "harmless", "description": "Tells the time."})
    twin = [definition(attack["twin"])] if "twin" in attack else []
    assert guarded.shown([tool, harmless, *twin]) == ["harmless"]
    assert is_blocked(guarded.call(tool["name"], {}))
    assert any(repr(tool["name"]) in line for line in guarded.said)
    assert guarded.shown([tool]) == []


def at_greeting(guarded: Guarded, attack: Json) -> None:
    """The session goes on without the server's instructions."""
    told: Json = {"protocolVersion": "2025-11-25", "instructions": attack["instructions"], "capabilities": {}}
    answer = guarded.exchange("initialize", {}, told)
    assert answer["result"] == {"protocolVersion": "2025-11-25", "capabilities": {}}


def at_call(guarded: Guarded, attack: Json) -> None:
    """The server never sees the call."""
    tool = definition(attack["tool"])
    assert guarded.shown([tool]) == [tool["name"]]
    outcome = guarded.ask("tools/call", {"name": tool["name"], "arguments": attack["call"]})
    assert outcome.onward is None
    assert is_blocked(outcome.back["result"])


def at_result(guarded: Guarded, attack: Json) -> None:
    """The client never sees the answer, also where it stands in structured content."""
    tool = definition(attack["tool"])
    assert guarded.shown([tool]) == [tool["name"]]
    result = guarded.call(tool["name"], attack["call"], attack["result"])
    assert is_blocked(result)
    assert attack["result"] not in str(result)
    hidden: Json = {"content": [], "structuredContent": {"rows": [{"text": attack["result"]}]}}
    answer = guarded.exchange("tools/call", {"name": tool["name"], "arguments": attack["call"]}, hidden)
    assert is_blocked(answer["result"])


def at_ask(guarded: Guarded, attack: Json) -> None:
    """The server's request is refused in the client's place."""
    outcome = guarded.warden.from_server({"jsonrpc": "2.0", "id": 1, **attack["ask"]})
    assert outcome.onward is None
    assert "error" in outcome.back


STOPPED = {"list": at_list, "greeting": at_greeting, "call": at_call, "result": at_result, "ask": at_ask}


@promise("mcp.harmless")
@pytest.mark.parametrize("session", HARMLESS)
def test_a_harmless_session_is_left_as_it_is(tmp_path: Path, session: Json) -> None:
    guarded = Guarded(tmp_path / "pins")
    tool = definition(session["tool"])
    for _ in range(2):
        assert guarded.exchange("tools/list", {}, {"tools": [tool]})["result"] == {"tools": [tool]}
    asked = {"name": tool["name"], "arguments": session["call"]}
    sent = guarded.ask("tools/call", asked)
    assert sent.back is None, sent.back
    assert sent.onward["params"] == asked
    result = {"content": [{"type": "text", "text": session["result"]}]}
    answer = {"jsonrpc": "2.0", "id": sent.onward["id"], "result": result}
    assert guarded.warden.from_server(answer).onward == answer
    assert guarded.said == []
