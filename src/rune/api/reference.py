"""`docs/reference/api.md`: every operation on one page, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rune.api import prose, proto
from rune.api.fields import Message, WireEnum
from rune.api.operation import Access, Operation, Streaming
from rune.api.shape import Field, fields, proto_name
from rune.api.table import NOUNS

HEAD = """# API reference

<!-- Written by `python -m rune.api.generate` from the table of operations. Do not edit. -->

Every operation is served over gRPC (package `rune.api`, see `api/rune.proto`) and, where a path is given,
over REST (see `api/openapi.yaml`). Both take `Authorization: Bearer <token>` or `X-Rune-Key: <key>`.

**REST.** Names are lowerCamelCase in answers, both spellings are read; 64-bit integers are strings; enums
go by name; fields that are zero are present. What neither the path nor the body gives stands in the
query. Selectors are written `label_selector=app=api,tier!=db` (short `l` or `labels`): all terms must
hold, and `tier!=db` is the entry `"tier!": "db"` of the map. Pages are asked for with `limit` and
`continuation_token`. An unknown field or parameter is refused by name.

**Agent security** (gRPC package `rune.security.v1`, see `api/security.proto`) has a dress of its own: ids are
`_id`, times are milliseconds since 1970, counts are numbers, events have underscores, and lists give
`next_cursor` while there is more, for `?cursor=`. Over gRPC what is of any shape is JSON text.

**Changes.** An answer that holds one resource has its revision as `ETag`; `If-Match` on a PUT refuses
with 412 when the resource has moved on. Lists that say so take `?watch=true` and become a stream.

**Streams** are Server-Sent Events (`id:` is the revision to resume from with `Last-Event-ID` or
`?resume=`), or one JSON object a line with `Accept: application/x-ndjson`. A revision that is no longer
kept is answered 410, with the oldest kept one in the details.

**Errors** are `{"error", "code", "message", "details"}` with the gRPC code; the details are those that
gRPC sends in `grpc-status-details-bin`: an `ErrorInfo` with a reason always, a `BadRequest` that names
every field, a `RetryInfo` where waiting helps, and the request id.

**Sizes.** A body has at most 4 MiB (a batch of events 5), its head 32 KiB; a request over gRPC has 4 MiB. The
server holds 2,000 connections over HTTP and 10,000 calls over gRPC, and bodies that are still coming may take
256 MiB together: what is more is refused, to be tried again.
"""


def text(operations: Iterable[Operation[Any, Any]]) -> str:
    """The page."""
    rows = list(operations)
    parts = [HEAD]
    for noun in NOUNS:
        own = [row for row in rows if row in vars(noun).values()]
        if own:
            parts.append(
                f"## {noun.__name__.rpartition('.')[2].capitalize()}\n\n{prose.about_module(noun)}\n"
            )
        parts += ["\n".join(_operation(row)) for row in own]
    asked = {row.request for row in rows}
    models = list(proto.models(rows))
    others = [model for model in models if model not in asked]
    parts.append("\n".join(_refused(rows, models)))
    parts.append("## Messages\n")
    parts += ["\n".join(_model(model)) for model in sorted(others, key=proto_name)]
    return "\n".join(parts)


def _refused(
    rows: Iterable[Operation[Any, Any]], models: Iterable[type[Message | WireEnum]]
) -> Iterator[str]:
    """All that is declared and not had: who calls or sends it is told the same reason."""
    yield "## What is refused\n"
    yield "These stand in the contract and are not had. They answer UNIMPLEMENTED with the reason.\n"
    yield "| what | why |"
    yield "|---|---|"
    for row in rows:
        if row.unsupported:
            yield f"| `{row.service}/{row.method}` | {row.unsupported} |"
    for model in models:
        for item in fields(model) if issubclass(model, Message) else ():
            if item.unsupported:
                yield f"| `{proto_name(model)}.{item.wire}` | {item.unsupported} |"
    yield ""


def _operation(row: Operation[Any, Any]) -> Iterator[str]:
    yield f"### {row.name}\n"
    yield row.summary + (f" **Not supported**: {row.unsupported}." if row.unsupported else "") + "\n"
    yield f"- gRPC `{row.package}.{row.service}/{row.method}`{_streams(row)}"
    if row.http is not None:
        body = f", body `{row.http.body}`" if row.http.body else ""
        yield f"- REST `{row.http.verb} {row.http.path}`{body}" + (
            f"; `?watch=true` makes it `{row.watch}`" if row.watch else ""
        )
    yield f"- {_access(row)}"
    yield f"- Answer: {_link(row.response)}\n"
    yield f"{prose.about(row.request)}\n"
    yield from _fields(row.request)


def _streams(row: Operation[Any, Any]) -> str:
    words = {Streaming.NONE: "", Streaming.SERVER: ", streams", Streaming.BOTH: ", streams both ways"}
    return words[row.streaming]


def _access(row: Operation[Any, Any]) -> str:
    words = {
        Access.PUBLIC: "No credential",
        Access.KNOWN: "Any valid credential",
        Access.GRANTED: f"Permission `{row.permission}`",
    }
    return words[row.access] + (
        "; from this machine only, unless `auth.allow_remote_admin`" if row.local_only else ""
    )


def _model(model: type[Message | WireEnum]) -> Iterator[str]:
    yield f"### {proto_name(model)}\n"
    yield f"{prose.about(model)}\n"
    if issubclass(model, WireEnum):
        for word in model:
            said = prose.about_word(model, word.name)
            yield f"- `{word.value}`" + (f": {said}" if said else "")
        yield ""
    else:
        yield from _fields(model)


def _fields(model: type[Message]) -> Iterator[str]:
    items = fields(model)
    if not items:
        return
    yield "| field | type | |"
    yield "|---|---|---|"
    for item in items:
        said = prose.about_field(model, item).replace("|", "\\|")
        needed = "Required. " if item.required else ""
        yield f"| `{item.wire}` | {_type(item)} | {needed}{said} |"
    yield ""


def _type(field: Field) -> str:
    one = _link(field.model) if field.model is not None else f"`{field.type}`"
    if field.repeated:
        return f"list of {one}"
    return f"map to {one}" if field.mapping else one


def _link(model: type[Message | WireEnum]) -> str:
    name = proto_name(model)
    return f"[{name}](#{name.lower().replace('.', '')})"
