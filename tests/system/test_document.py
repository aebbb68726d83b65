"""The whole OpenAPI document against a real runed: no failure, and no answer that it does not name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from promises import promise
from rune.api import OPERATIONS
from runed import Runed, runed
from secured import POLICY, injection

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

STATUS: Any = checks.status_code_conformance  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - typed in part
CONFORMS: Any = checks.response_schema_conformance  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - as above
EVERY: Any = list(HealthCheck)
STREAMS = {row.name for row in OPERATIONS if row.streams}
ENDLESS = {"watch_scaling", "stream_bundles", "tail_events", "get_logs"}
AFTERWARDS = ("watch", "resume", "wait", "follow")
"""Parameters that make an answer wait for what comes."""
EXAMPLES = 4
RUNEFILE = """\
limits:
  {reads_per_minute: 0, writes_per_minute: 0, events_per_second: 0, sdk_per_minute: 0}
"""
KNOWN = "known"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    """A server without limits that has something of everything under the name `known`."""
    file = tmp_path / "Runefile.yaml"
    file.write_text(RUNEFILE, encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(file)) as made:
        with asking(made) as http:
            fill(http)
        yield made


def asking(server: Runed) -> httpx.Client:
    headers = {"authorization": f"Bearer {server.token}"}
    return httpx.Client(base_url=f"http://{server.http}", headers=headers, timeout=20)


def fill(http: httpx.Client) -> None:
    """One of each kind."""
    home = "/v1/namespaces/default"
    http.post("/v1/namespaces", json={"name": KNOWN})
    service = {"name": KNOWN, "scale": 0, "process": {"command": "true"}}
    made = [
        http.post(f"{home}/services", json=service),
        http.post(f"{home}/configmaps", json={"name": KNOWN, "data": {"a": "b"}}),
        http.post(f"{home}/secrets", json={"name": KNOWN, "data": {"a": "b"}}),
        http.post("/v1/admin/users", json={"name": KNOWN}),
        http.post("/v1/agents", json={"agentId": KNOWN}),
        http.post("/v1/policies", json={"name": KNOWN, "yamlContent": POLICY}),
        http.post("/v1/events", json={"events": [injection(KNOWN, event_id=KNOWN)]}),
    ]
    assert [answer.status_code < 300 for answer in made] == [True] * len(made), [each.text for each in made]


def ask(http: httpx.Client, case: Any) -> httpx.Response:
    """The answer to a case of the document."""
    given_case: dict[str, Any] = case.as_transport_kwargs(
        base_url=str(http.base_url), headers=dict(http.headers)
    )
    given_case.pop("cookies", None)
    return http.request(**given_case)


@promise("rest.document")
def test_whatever_the_document_allows_is_answered_as_it_says(server: Runed) -> None:
    wrong: list[str] = []
    tried: set[str] = set()
    with asking(server) as http:
        schema: Any = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
        for found in schema.get_all_operations():
            operation = found.ok()
            name = operation.definition.raw["operationId"]
            if name not in ENDLESS:
                tried.add(name)
                wrong += _tried(http, operation, name)
    assert not wrong, "\n".join(wrong)
    assert len(tried) == len([row for row in OPERATIONS if row.http is not None]) - len(ENDLESS)


def _tried(http: httpx.Client, operation: Any, name: str) -> list[str]:
    """What is wrong with the answers of one operation."""
    wrong: list[str] = []

    @seeded(1)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=EVERY)
    @given(case=operation.as_strategy())
    def once(case: Any) -> None:
        for parameter in AFTERWARDS:
            case.query.pop(parameter, None)
        for place in ({}, {key: "default" if key == "namespace" else KNOWN for key in case.path_parameters}):
            case.path_parameters.update(place)
            answer = ask(http, case)
            body = answer.content[:300]
            if answer.status_code >= 500 and answer.status_code != 501:
                wrong.append(f"{name}: {answer.status_code} {case.query} {case.body!r:.400} {body!r}")
                continue
            try:
                told = [STATUS] if name in STREAMS else [STATUS, CONFORMS]
                case.validate_response(schemathesis.Response.from_any(answer), checks=told)
            except FailureGroup as error:
                wrong.append(f"{name}: {answer.status_code} {str(error.exceptions[0])[:200]}")

    once()
    return list(dict.fromkeys(wrong))
