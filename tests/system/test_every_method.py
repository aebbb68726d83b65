"""Every operation of the orchestrator over gRPC, by stubs of `api/rune.proto`, and over REST: one answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from promises import promise
from rune.api import OPERATIONS, Operation, Streaming
from rune.api.orchestrator import services
from rune.api.orchestrator.services import GetServiceRequest, ServiceStatus
from runed import Runed, runed
from surface.protoc import Client as Stubs
from system.clients.script import STORY, Json, Step
from system.clients.tellers import ByPaths, ByStubs, Teller

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

ROWS = {row.name: row for row in OPERATIONS if row.package == "rune.api" and not row.unsupported}
ELSEWHERE = {"begin_oidc", "finish_oidc", "change_password"}
"""They need an OpenID provider, or a session of one's own: see tests/unit/core/test_federation.py and
test_own_password.py, tests/browser/test_gate.py and tests/system/test_login.py."""
WITHOUT_PATH = {"subscribe"} | {row.name for row in ROWS.values() if row.streaming is Streaming.BOTH}
"""What REST has no path for, or a WebSocket; surface tests are about them."""
FLEETING = re.compile(
    r"(?i)^(id|.*ids?|uuid|.*(at|time|timestamp|since|seen)|revision|resume|code|generation|.*generation|secret"
    r"|token|pid|ip|address|vip|version|instances|usage|message|statusMessage|statusReason|update|ready|status"
    r"|exitCode|hash|head|sequence|seq|history|scaling|rollout|attempt|edge|entries|size|runningInstances|terminatingInstances|total.*"
    r"|deleted.*|pending.*|restart.*|progress|checks|copies|state|rewrapped|.*hash|signature|cpu.*|memory.*|currentScale)$"
)
"""What differs from one time to the next, and what of our own has a default that is not zero, which stubs
leave to their reader."""


def essence(value: Any, w: str) -> Any:
    """What must be the same in both tellings: names without the teller's letter, and all that is not zero.

    REST shows what is zero or absent; stubs leave some of it out.
    """
    if isinstance(value, dict):
        given = cast("Json", value)
        parts = {key: essence(each, w) for key, each in given.items() if not FLEETING.match(key)}
        return {key: part for key, part in sorted(parts.items()) if part not in (None, "", "0", 0, {}, [])}
    if isinstance(value, list):
        return [essence(each, w) for each in cast("list[Any]", value)]
    if isinstance(value, str):
        if value.endswith("_UNSPECIFIED"):
            return ""
        return re.sub(rf"(?<=-){w}\b|\b{w}\b", "W", re.sub(r"[0-9a-f]{8}(-[0-9a-f-]+)?", "ID", value))
    return value


def filled(template: Any, kept: dict[str, str]) -> Any:
    """The request, with what was kept of earlier answers."""
    text = json.dumps(template)
    for name, value in kept.items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


def dug(answer: Json, path: str) -> str:
    """A part of an answer, as `instances.0.id`."""
    found: Any = answer
    for part in path.split("."):
        found = found[int(part)] if part.isdecimal() else found[part]
    return str(found)


async def tell(server: Runed, teller: Teller, w: str, told: list[tuple[str, Any]]) -> None:
    kept = {"w": w}
    for step in STORY:
        row = ROWS[step.operation]
        if step.until:
            await settled(server, w)
        answers = await teller.ask(row, filled(step.ask, kept), step.items)
        kept |= {name: dug(answers[0], path) for name, path in step.keep.items()}
        told.append((step.operation, shown(row, step, answers, w)))


def shown(row: Operation[Any, Any], step: Step, answers: list[Json], w: str) -> Any:
    """What is compared of a step."""
    if row.name in {"backup", "export_audit"}:
        return bool(answers)  # the bytes of a moment
    return [essence(answer, w) for answer in answers]


async def settled(server: Runed, w: str) -> None:
    """Wait until the story's service runs."""
    ask = services.WatchServicesRequest(namespace=w, field_selector={"name": "web"})
    async for _ in server.client.stream(services.watch, ask):
        answer = await server.call(services.get, GetServiceRequest(name="web", namespace=w))
        if answer.service and answer.service.status is ServiceStatus.RUNNING:
            return


def test_the_story_uses_every_operation() -> None:
    assert ROWS.keys() - {step.operation for step in STORY} == WITHOUT_PATH | ELSEWHERE


@promise("doors.one-road", "rest.streams", "rest.bases", "rest.json")
async def test_both_doors_give_the_same_answers_to_every_operation(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        over_grpc: list[tuple[str, Any]] = []
        over_rest: list[tuple[str, Any]] = []
        headers = {"authorization": f"Bearer {server.token}"}
        async with Stubs(int(server.grpc.rpartition(":")[2]), server.token) as stubs:
            await tell(server, ByStubs(stubs), "g", over_grpc)
        async with httpx.AsyncClient(
            base_url=f"http://{server.http}", headers=headers, timeout=60, trust_env=False
        ) as http:
            await tell(server, ByPaths(http), "r", over_rest)
    both = zip(over_grpc, over_rest, strict=True)
    differ = [(name, one, other) for (name, one), (_, other) in both if one != other]
    assert not differ, json.dumps(differ, indent=1)
