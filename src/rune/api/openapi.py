"""The REST side of the table as an OpenAPI 3.1 document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rune.api import prose, proto
from rune.api.fields import Message, WireEnum
from rune.api.operation import Access, Effect, Http, Operation
from rune.api.places import Slot, query, slot
from rune.api.schemas import body_schema, component, field_schema, reference, schema_name
from rune.api.shape import fields
from rune.api.table import NOUNS, by_name

Json = dict[str, Any]

ABOUT = """Everything that the command line and the dashboard do, they do through these operations.

Names of fields are lowerCamelCase in answers; requests may use underscores as well. 64-bit integers are
strings, enums go by name, and fields that are zero are present. On the agent-security plane times
are milliseconds since 1970, counts are numbers, and events have underscores. An unknown field or query
parameter is refused by name. Lists that can be watched take `watch=true`. Errors have one form everywhere."""

FAILURES = {
    400: "The request is malformed; each violation names its field.",
    401: "The credential is missing, unknown, expired or revoked.",
    403: "The caller may not do this.",
    404: "There is no such resource.",
    409: "A resource of this name exists, or it changed since it was read.",
    410: "The revision to resume from is no longer kept; `oldest` in the details is the first that is.",
    412: "The state of the system does not allow it, or If-Match names another revision.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many calls; Retry-After says when to try again.",
    500: "Something failed inside the server; its log has the cause under the request id.",
    501: "This release does not support it.",
    503: "The server is out of reach for now.",
}
ERROR: Json = {
    "type": "object",
    "description": "What went wrong; `details` are messages of google.rpc.",
    "required": ["error", "code", "message", "details"],
    "properties": {
        "error": {"type": "string", "description": "The same as `message`."},
        "code": {"type": "integer", "description": "The gRPC status code."},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["@type"],
                "properties": {"@type": {"type": "string"}},
                "additionalProperties": True,
            },
        },
    },
}


def document(operations: Iterable[Operation[Any, Any]]) -> Json:
    """The whole document."""
    rows = [row for row in operations if row.http is not None]
    paths: dict[str, Json] = {}
    for row in rows:
        if row.http is not None:
            paths.setdefault(_path(row.http), {})[row.http.verb.lower()] = _operation(row, row.http)
    watched = [by_name(row.watch) for row in rows if row.watch]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rune", "version": "v1", "description": ABOUT},
        "servers": [{"url": "http://localhost:7861", "description": "runed on this machine"}],
        "security": [{"bearer": []}, {"key": []}],
        "tags": _tags(rows),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Rune-Key"},
            },
            "responses": {f"E{status}": _failure(text) for status, text in FAILURES.items()},
            "schemas": _schemas([*rows, *watched]),
        },
    }


def _tags(rows: list[Operation[Any, Any]]) -> list[Json]:
    said = {
        value.service: prose.about_module(noun)
        for noun in NOUNS
        for value in vars(noun).values()
        if isinstance(value, Operation)
    }
    return [{"name": name, "description": said[name]} for name in dict.fromkeys(row.service for row in rows)]


def _schemas(rows: list[Operation[Any, Any]]) -> Json:
    found: Json = {"Error": ERROR}
    for row in rows:
        body = row.http.body if row.http else ""
        if row.http is not None and body == "*":
            found[f"{schema_name(row.request)}Body"] = body_schema(row.request, row.http.parameters)
        elif body:
            found |= _reachable(slot(row.request, body).field.python)
        found |= _reachable(row.response)
        if body == "*":
            found |= {k: v for k, v in _reachable(row.request).items() if k != schema_name(row.request)}
    return dict(sorted(found.items()))


def _reachable(model: type[Message | WireEnum]) -> Json:
    return {schema_name(each): component(each) for each in proto.reachable(model)}


def _operation(row: Operation[Any, Any], http: Http) -> Json:
    found: Json = {
        "operationId": row.name,
        "tags": [row.service],
        "summary": row.summary,
        "description": _description(row),
        "parameters": _parameters(row, http),
        "responses": {str(http.status): _answer(row), **_unchanged(row), **_failures(row, http)},
    }
    if http.body:
        found["requestBody"] = _body(row, http)
    if row.access is Access.PUBLIC:
        found["security"] = []
    return found


def _description(row: Operation[Any, Any]) -> str:
    parts = [prose.about(row.request)]
    if row.access is Access.GRANTED:
        parts.append(f"Needs the permission `{row.permission}`.")
    if row.local_only:
        parts.append("From this machine only, unless `auth.allow_remote_admin` is on.")
    if row.unsupported:
        parts.append(f"Not supported: {row.unsupported}.")
    return "\n\n".join(parts)


def _path(http: Http) -> str:
    """The template with short names: `{service.namespace}` is `{namespace}` here."""
    return re.sub(r"{(?:\w+\.)*(\w+)}", r"{\1}", http.path)


def _parameters(row: Operation[Any, Any], http: Http) -> list[Json]:
    found = [
        {"name": place.path[-1], "in": "path", "required": True, "schema": field_schema(place.field)}
        | _said(place)
        for place in (slot(row.request, name) for name in http.parameters)
    ]
    listed = query(row.request, {*http.parameters, http.body})
    found += [_query_parameter(place) for place in listed]
    if row.watch:
        known = {place.name for place in listed}
        found.append(_watch_parameter(row))
        more = query(by_name(row.watch).request, {*http.parameters, *known})
        found += [_query_parameter(place) for place in more]
        found.append(
            _header(
                "Last-Event-ID", "With `watch=true`: the id of the last event seen; the same as `resume`."
            )
        )
    if _is_tenants(row):
        found.append(_header("X-Rune-Organization", "With a token: the organization to act in."))
    if row.effect in (Effect.SETTLE, Effect.DESTROY) and http.body not in ("", "*"):
        found.append(_header("If-Match", 'The entity tag of the resource as it was read, such as `"812"`.'))
    return found


def _query_parameter(place: Slot) -> Json:
    name = place.name.removeprefix("paging.")
    schema = field_schema(place.field)
    if place.field.mapping:
        schema = {"type": "string", "examples": ["app=api,tier!=db"]}
    return {"name": name, "in": "query", "schema": schema} | _said(place)


def _watch_parameter(row: Operation[Any, Any]) -> Json:
    text = f"Answer with a stream, as {by_name(row.watch).method} does: what there is, then every change."
    return {"name": "watch", "in": "query", "description": text, "schema": {"type": "boolean"}}


def _header(name: str, text: str) -> Json:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def _said(place: Slot) -> Json:
    text = prose.about_field(place.owner, place.field)
    return {"description": text} if text else {}


def _body(row: Operation[Any, Any], http: Http) -> Json:
    name = f"{schema_name(row.request)}Body"
    schema: Json = {"$ref": f"#/components/schemas/{name}"}
    needed = http.body != "*"
    if needed:
        schema = reference(slot(row.request, http.body).field.python)
    return {"required": needed, "content": {"application/json": {"schema": schema}}}


def _answer(row: Operation[Any, Any]) -> Json:
    schema = reference(row.response)
    if row.streams:
        return {"description": "A stream.", "content": _streamed(row)}
    found: Json = {
        "description": prose.about(row.response),
        "content": {"application/json": {"schema": schema}},
    }
    if row.watch:
        found["content"] |= _streamed(by_name(row.watch))
    return found


def _unchanged(row: Operation[Any, Any]) -> Json:
    if not any(item.name == "etag" for item in fields(row.response)):
        return {}
    return {"304": {"description": "It is as If-None-Match says."}}


def _streamed(row: Operation[Any, Any]) -> Json:
    """Both dresses of a stream; OpenAPI 3.1 can say of each what one piece is."""
    line = {
        "type": "object",
        "description": "One line.",
        "properties": {"result": reference(row.response), "error": {"$ref": "#/components/schemas/Error"}},
    }
    text = f"Server-Sent Events; the `data` of each is one {schema_name(row.response)} as JSON."
    return {
        "text/event-stream": {"schema": {"type": "string", "description": text}},
        "application/x-ndjson": {"schema": line},
    }


def _failures(row: Operation[Any, Any], http: Http) -> Json:
    statuses = {400, 429, 500, 503}
    statuses |= {401} if row.access is not Access.PUBLIC or row.effect is not Effect.READ else set()
    statuses |= {403} if row.access is Access.GRANTED or row.local_only or _is_tenants(row) else set()
    statuses |= {404} if http.parameters or row.effect is not Effect.READ or _is_tenants(row) else set()
    statuses |= {409, 412} if row.effect is not Effect.READ else set()
    statuses |= {413, 415} if http.body else set()
    statuses |= {410} if row.watch else set()
    statuses |= {501} if row.unsupported or _refuses(row) else set()
    return {str(status): {"$ref": f"#/components/responses/E{status}"} for status in sorted(statuses)}


def _is_tenants(row: Operation[Any, Any]) -> bool:
    """A token may name the organization that it is about."""
    return row.is_security and row.access is not Access.PUBLIC


def _refuses(row: Operation[Any, Any]) -> bool:
    return any(
        item.unsupported
        for model in proto.reachable(row.request)
        if issubclass(model, Message)
        for item in fields(model)
    )


def _failure(text: str) -> Json:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}
