"""Every tool is what its row of the table says, and its schemas hold for what Rune takes and gives."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
from hypothesis import strategies as st

from rune.api import OPERATIONS, Effect, Operation, Streaming, by_name, wirejson
from rune.api.fields import Message
from rune.api.shape import fields
from rune.errors import InvalidArgument
from rune.mcp import answers, resources, schemas, tools
from rune.mcp.offers import POSSIBLE, Offer, chosen, toolset
from rune.mcp.streams import Bounds
from unit.mcp.drawing import data

Row = Operation[Any, Any]
EACH = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in POSSIBLE])
FEW = hypothesis.settings(
    max_examples=6,
    phases=(hypothesis.Phase.reuse, hypothesis.Phase.generate),  # to shrink a whole service takes minutes
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)


def test_every_supported_operation_is_a_tool_but_for_conversations_and_what_is_for_people() -> None:
    unsupported = {row.name for row in OPERATIONS if row.unsupported}
    left_out = {row.name for row in OPERATIONS if not row.unsupported} - {row.name for row in POSSIBLE}
    both = {row.name for row in OPERATIONS if row.streaming is Streaming.BOTH}
    for_people = {"bootstrap", "reveal_secret", "reveal_secret_version"}
    for_people |= {"log_in", "begin_oidc", "finish_oidc", "redeem_enrollment", "refresh_session"}
    assert left_out == for_people | both - unsupported


def test_the_guide_lists_what_is_left_out() -> None:
    guide = Path(__file__).parents[3] / "docs/how-to/use-rune-from-an-assistant.md"
    listed = guide.read_text(encoding="utf-8").partition("## What is left out")[2]
    left_out = [row.name for row in OPERATIONS if not row.unsupported and row not in POSSIBLE]
    assert [name for name in left_out if f"`{name}`" not in listed] == []


@EACH
def test_the_schemas_of_a_tool_are_json_schemas(row: Row) -> None:
    made = tools.tool(row)
    for schema in (made.input_schema, made.output_schema):
        assert schema is not None
        jsonschema_rs.meta.validate(schema)  # that of 2020-12, where a schema names none
        assert schema["type"] == "object"
        for place in references(schema):
            assert place.removeprefix("#/$defs/") in schema["$defs"]


@EACH
def test_a_tool_says_what_it_does(row: Row) -> None:
    made = tools.tool(row)
    assert made.description
    assert made.description.startswith(row.summary)
    assert made.annotations
    assert made.annotations.read_only_hint is (row.effect is Effect.READ)
    assert made.annotations.destructive_hint is (row.effect is Effect.DESTROY)
    assert made.annotations.idempotent_hint is (row.effect in (Effect.READ, Effect.SETTLE))
    assert made.annotations.open_world_hint is False


@EACH
def test_a_tool_asks_for_exactly_the_fields_that_are_supported(row: Row) -> None:
    offered = set(tools.tool(row).input_schema["properties"])
    bounds = {field.json for field in fields(Bounds)} if row.streams else set[str]()
    own = {field.json for field in schemas.supported(row.request)}
    assert not own & bounds
    assert offered == own | bounds


@FEW
@EACH
@hypothesis.given(drawn=st.data())
def test_what_a_schema_allows_is_taken_and_comes_back_the_same(row: Row, drawn: st.DataObject) -> None:
    arguments = drawn.draw(drawing(row.request))
    asked(row).validate(arguments)
    request = tools.message(row.request, arguments)
    assert tools.message(row.request, wirejson.to_plain(request)) == request
    assert tools.message(row.request, answers.brief(request)) == request


@FEW
@EACH
@hypothesis.given(drawn=st.data())
def test_what_is_answered_fits_the_schema(row: Row, drawn: st.DataObject) -> None:
    answer = tools.message(row.response, drawn.draw(drawing(row.response)))
    answered(row.response).validate(wirejson.to_plain(answer))
    answered(row.response).validate(answers.brief(answer))


@cache
def drawing(model: type[Message]) -> st.SearchStrategy[Any]:
    """Anything that the message may hold; made once, for many rows share their messages."""
    return data(schemas.message_schema(model))


@cache
def asked(row: Row) -> jsonschema_rs.Draft202012Validator:
    """Judges the arguments of a tool."""
    return jsonschema_rs.Draft202012Validator(tools.tool(row).input_schema)


@cache
def answered(model: type[Message]) -> jsonschema_rs.Draft202012Validator:
    """Judges an answer, or one item of a stream."""
    return jsonschema_rs.Draft202012Validator(schemas.message_schema(model))


def test_a_field_is_taken_in_both_spellings() -> None:
    row = by_name("list_services")
    one = tools.message(row.request, {"labelSelector": {"app": "api"}})
    assert tools.message(row.request, {"label_selector": {"app": "api"}}) == one


def test_an_argument_that_there_is_not_is_refused_with_the_nearest_that_there_is() -> None:
    with pytest.raises(
        InvalidArgument, match=r"labelSelectr: is not a field; did you mean label_?[sS]elector"
    ):
        tools.message(by_name("list_services").request, {"labelSelectr": {}})


def test_a_schema_names_constraints_and_what_fields_mean() -> None:
    schema = tools.tool(by_name("scale_service")).input_schema
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["scale"]["maximum"] == 10_000
    assert schema["properties"]["name"]["pattern"].startswith("^[a-z0-9]")
    assert "lowercase letters" in schema["properties"]["name"]["description"]
    assert "stepSize" in schema["properties"]
    assert "offset" not in str(tools.tool(by_name("list_services")).input_schema)  # refused in this release


def test_reads_only_are_offered_when_that_is_asked_for() -> None:
    rows = Offer(read_only=True).rows()
    assert rows
    assert all(row.effect is Effect.READ for row in rows)
    assert "--read-only" in Offer(read_only=True).refusal(by_name("delete_service"))


def test_toolsets_part_the_tools() -> None:
    assert chosen(" admin ,orchestrator,") == ("admin", "orchestrator")
    rows = Offer(toolsets=("admin",)).rows()
    assert {row.service for row in rows} == {"AuthService", "AdminService", "AuditService"}
    assert {toolset(row) for row in POSSIBLE} <= {"orchestrator", "admin", "security"}
    with pytest.raises(InvalidArgument, match="'admn' is not one of orchestrator, admin, security"):
        chosen("admn")


def test_a_resource_is_found_by_its_address_the_most_literal_first() -> None:
    found = resources.find(POSSIBLE, "rune://namespaces/prod/services/my%2Dapi")
    assert found
    assert (found[0].name, found[1]) == ("get_service", {"namespace": "prod", "name": "my-api"})
    listed = resources.find(POSSIBLE, "rune://namespaces")
    assert listed
    assert listed[0].name == "list_namespaces"
    assert resources.find(POSSIBLE, "rune://namespaces/a/b/c/d/e") is None
    assert resources.find(POSSIBLE, "file:///etc/passwd") is None


def test_a_brief_answer_leaves_out_what_is_zero_but_nothing_of_the_users_own() -> None:
    row = by_name("update_service")
    service = {"name": "api", "env": {"DEBUG": "", "RETRIES": "0"}, "scale": 0, "args": [""]}
    request = tools.message(row.request, {"service": service})
    assert answers.brief(request) == {
        "service": {"name": "api", "env": {"DEBUG": "", "RETRIES": "0"}, "args": [""]}
    }


def test_an_answer_that_would_drown_the_model_is_refused_with_what_to_do() -> None:
    large = {"namespaces": ["x" * answers.MOST_BYTES]}
    read = answers.done(by_name("list_namespaces"), large, large)
    assert read.is_error
    assert "paging.limit" in read.content[0].model_dump()["text"]
    change = answers.done(by_name("create_namespace"), large, large)
    assert "create_namespace was done, but" in change.content[0].model_dump()["text"]


def references(schema: object) -> list[str]:
    """Every `$ref` in it."""
    if isinstance(schema, dict):
        own = [value for key, value in schema.items() if key == "$ref"]  # pyright: ignore[reportUnknownVariableType] - JSON
        return own + [place for part in schema.values() for place in references(part)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
    if isinstance(schema, list):
        return [place for part in schema for place in references(part)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
    return []
