"""The security plane's OpenAPI document against its real handlers: no failure, no undocumented status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks

from promises import promise
from rune.api import OPERATIONS
from secured import Secured, injection, secured

pytestmark = promise("security.openapi")

STATUS: Any = checks.status_code_conformance  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - typed in part
CONFORMS: Any = checks.response_schema_conformance  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - as above
EVERY: Any = list(HealthCheck)
NAMES = {row.name for row in OPERATIONS if row.is_security and not row.streams}


class Running:
    """A plane in a loop of its own, which a test that is not asynchronous may use."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._made = secured()
        self.plane: Secured = self.do(self._made.__aenter__())
        self.key: str = self.do(self.plane.key())

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.do(self._made.__aexit__(None, None, None))
        self.do(self.loop.shutdown_default_executor())
        self.loop.close()

    def ask(self, case: Any, headers: dict[str, str]) -> Any:
        """The answer to a case of the document."""
        given_case = case.as_transport_kwargs(base_url="http://runed", headers=headers)
        given_case.pop("cookies", None)

        async def once() -> Any:
            async with self.plane.client() as http:
                http.headers.clear()
                return await http.request(**given_case)

        return self.do(once())


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.close()


@pytest.mark.timeout(90)
def test_whatever_the_document_allows_is_answered_as_it_says(running: Running) -> None:
    async def seed() -> None:
        async with running.plane.client(running.key) as http:
            await http.post("/v1/events", json={"events": [injection()]})

    running.do(seed())
    document = running.do(_document(running.plane))
    schema: Any = schemathesis.openapi.from_dict(document)
    tried: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name not in NAMES:
            continue
        tried.add(name)

        @settings(max_examples=8, database=None, deadline=None, suppress_health_check=EVERY)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            for endless in ("wait", "watch", "resume"):
                case.query.pop(endless, None)
            for headers in ({"x-rune-key": running.key}, {"authorization": f"Bearer {running.plane.token}"}):
                answer = running.ask(case, headers)
                assert answer.status_code < 500, (case, answer.text)
                case.validate_response(schemathesis.Response.from_any(answer), checks=[STATUS, CONFORMS])

        ask()
    assert tried == NAMES


async def _document(plane: Secured) -> Any:
    async with plane.client() as http:
        return (await http.get("/openapi.json")).json()
