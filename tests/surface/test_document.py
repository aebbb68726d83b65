"""The OpenAPI document against the app: what it allows is understood, what comes back is as it says."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks

from promises import promise
from rune.core.clock import SystemClock
from rune.server.metrics import Metrics
from rune.server.pages import Surroundings, app
from rune.server.rest import Rest
from surface.standins import TOKEN, Shelf, dispatcher, nothing_else

pytestmark = promise("doors.openapi")

UNIMPLEMENTED = 501
CONFORMS: Any = checks.response_schema_conformance  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - typed in part
EVERY: Any = list(HealthCheck)
ENDLESS = ("get_logs", "watch_scaling")


@pytest.fixture(scope="module")
def schema() -> Any:
    """Read in a wider fixture, since the library keeps the thread that it reads with."""
    road = dispatcher()
    Shelf(road)
    nothing_else(road)
    served = app(Rest(road, SystemClock()), Surroundings(trouble=str, metrics=Metrics()))
    return schemathesis.openapi.from_asgi("/openapi.json", served)


@pytest.mark.timeout(60)
def test_no_request_that_the_document_allows_fails_the_server(schema: Any) -> None:
    operations = [found.ok() for found in schema.get_all_operations()]
    tried = 0
    for operation in operations:
        if operation.definition.raw["operationId"] in ENDLESS:
            continue
        tried += 1

        @settings(max_examples=4, database=None, suppress_health_check=EVERY)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            for endless in ("watch", "resume"):
                case.query.pop(endless, None)
            answer = case.call(headers={"authorization": f"Bearer {TOKEN}"})
            assert answer.status_code < 500 or answer.status_code == UNIMPLEMENTED, (case, answer.text)
            case.validate_response(answer, checks=[CONFORMS])

        ask()
    assert tried > 50
