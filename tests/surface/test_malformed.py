"""Hundreds of requests that no well-meaning client sends: each is refused in clear words, none is a 5xx."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest

from promises import promise
from rune.api import OPERATIONS, Operation, codec
from rune.api.operation import Http
from rune.api.shape import fields
from rune.server import http
from surface.conftest import Doors
from surface.protoc import Client
from surface.standins import TOKEN

pytestmark = [pytest.mark.system, promise("rest.errors")]
ROWS = [row for row in OPERATIONS if not row.unsupported and row.name != "bootstrap"]
OVER_HTTP = [(row, row.http) for row in ROWS if row.http is not None]
WITH_BODY = [(row, place) for row, place in OVER_HTTP if place.body]
JSON = {"content-type": "application/json"}

BODIES: dict[str, tuple[bytes, str, set[int]]] = {
    "an unknown field": (b'{"bogus": 1}', "bogus", {400}),
    "a field given twice": (b'{"bogus": 1, "bogus": 2}', "bogus", {400}),
    "both spellings of a field": (b'{"dry_run_x": 1, "dryRunX": 1}', "dry", {400}),
    "a list": (b"[1]", "object", {400}),
    "no JSON": (b"{", "JSON", {400}),
    "broken UTF-8": (b'{"name": "\xff\xfe"}', "JSON", {400}),
    "half a surrogate pair": (b'{"name": "\\ud800xxxxxxxxxxxxxx"}', "JSON", {400}),
    "not a number": (b'{"scale": NaN}', "JSON", {400}),
    "a number of 5000 digits": (b'{"scale": ' + b"9" * 5000 + b"}", "", {400}),
    "deep nesting": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "", {400}),
    "five megabytes": (b'{"bogus": "' + b"x" * (5 << 20) + b'"}', "larger", {413}),
}
Case = tuple[str, str, dict[str, Any], str, set[int]]
"""Method, path, what else is sent, a word of the refusal, and the statuses it may have."""
SEGMENTS = ("..%2F..%2Fetc%2Fpasswd", "%00", "a%0A", "%FF", "A B", "x" * 300, "%2e%2e")


def address(
    place: Http, values: Callable[[str], str] = lambda name: "1" if name == "version" else "api"
) -> str:
    return re.sub(r"{([\w.]+)}", lambda found: values(found[1].rpartition(".")[2]), place.path)


async def refused(rest: httpx.AsyncClient, cases: Iterator[Case]) -> int:
    """Send each; all must be answered with a wanted status, in our form, and name what is wrong."""
    bad: list[str] = []
    count = 0
    for verb, path, more, word, statuses in cases:
        answer = await rest.request(verb, path, **more)
        body = answer.json()
        count += 1
        if answer.status_code not in statuses or word not in body["message"] or set(body) != FORM:
            bad.append(f"{verb} {path[:80]} {answer.status_code} {answer.text[:200]}")
    assert not bad, "\n".join(bad)
    return count


NOTHING: dict[str, Any] = {}
FORM = {"error", "code", "message", "details"}


@promise("rest.unknown")
@pytest.mark.parametrize("kind", BODIES)
async def test_a_bad_body_is_refused_by_every_operation(doors: Doors, kind: str) -> None:
    content, word, statuses = BODIES[kind]
    rows = WITH_BODY[:3] if len(content) > 1 << 20 else WITH_BODY
    async with doors.client() as rest:
        cases = (
            (place.verb, address(place), {"content": content, "headers": JSON}, word, statuses)
            for _, place in rows
        )
        assert await refused(rest, cases) == len(rows)


async def test_a_body_of_another_type_is_refused_by_every_operation(doors: Doors) -> None:
    types = ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "")
    async with doors.client() as rest:
        cases = (
            (place.verb, address(place), {"content": b"{}", "headers": {"content-type": kind}}, "JSON", {415})
            for _, place in WITH_BODY
            for kind in types
        )
        assert await refused(rest, cases) == len(WITH_BODY) * len(types)


async def test_a_body_where_none_is_taken_is_refused(doors: Doors) -> None:
    rows = [(row, place) for row, place in OVER_HTTP if not place.body]
    async with doors.client() as rest:
        cases = (
            (place.verb, address(place), {"content": b"{}", "headers": JSON}, "no body", {400})
            for _, place in rows
        )
        assert await refused(rest, cases) == len(rows)


async def test_an_unknown_parameter_is_refused_by_every_operation(doors: Doors) -> None:
    async with doors.client() as rest:
        cases = ((place.verb, f"{address(place)}?bogus=1", NOTHING, "bogus", {400}) for _, place in OVER_HTTP)
        assert await refused(rest, cases) == len(OVER_HTTP)


async def test_a_segment_that_is_no_name_reaches_nothing(doors: Doors) -> None:
    async with doors.client() as rest:
        cases = (
            (
                place.verb,
                address(place, lambda name, bad=bad, at=at: bad if name == at else "api"),
                NOTHING,
                "",
                NOT_SERVED,
            )
            for _, place in OVER_HTTP
            for at in {name.rpartition(".")[2] for name in place.parameters}
            for bad in SEGMENTS
        )
        assert await refused(rest, cases) > 200


NOT_SERVED = {400, 404}


@pytest.mark.parametrize(
    "query, word",
    [
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("paging.offset=x", "paging.offset"),
        ("limt=3", "did you mean limit"),
        ("l=app", "label_selector"),
        ("l==x", "label_selector"),
        ("l=app=a,app=b", "label_selector"),
        ("watch=perhaps", "watch"),
        ("watch=true&watch=false", "watch"),
        ("watch=true&resume=x", "resume"),
        ("namespace=other", "path"),
        ("%FF=1", "UTF-8"),
        ("&".join(["a=1"] * 200), "100"),
        ("paging=1", "paging"),
    ],
)
async def test_a_bad_parameter_is_named(doors: Doors, query: str, word: str) -> None:
    async with doors.client() as rest:
        cases = iter([("GET", f"/v1/namespaces/default/services?{query}", NOTHING, word, {400})])
        await refused(rest, cases)


async def test_a_contradiction_between_path_and_body_is_refused_by_name(doors: Doors) -> None:
    async with doors.client() as rest:
        body = {"json": {"name": "api", "namespace": "other"}}
        cases = iter([("POST", "/v1/namespaces/default/services", body, "service.namespace", {400})])
        await refused(rest, cases)


async def test_what_is_not_served_is_refused_in_the_same_form(doors: Doors) -> None:
    async with doors.client() as rest:
        assert (await rest.put("/v1/namespaces")).headers["allow"] == "GET, POST"
        cases: list[Case] = [
            ("GET", path, NOTHING, "", {404})
            for path in (
                "/",
                "/v2",
                "/v1/namespaces/",
                "/v1//services",
                "/v1/namespaces/a/services/b/c/d",
                "/..%2f",
            )
        ]
        cases += [
            (verb, "/v1/auth/whoami", NOTHING, verb, {405})
            for verb in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        ]
        cases += [
            ("GET", "/v1/auth/whoami", {"headers": {"if-match": tag}}, "If-Match", {400})
            for tag in ("*", '"x"', "1")
        ]
        await refused(rest, iter(cases))


async def raw(doors: Doors, *pieces: bytes) -> bytes:
    """Everything that is answered to these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.http_port)
    async with asyncio.timeout(10):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "pieces, status",
    [
        ([b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 40_000 + b"\r\n\r\n"], b"431"),
        ([b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n"], b"431"),
        ([b"GET / HTTP/1.1\r\n"] + [b"x: " + b"y" * 20_000 + b"\r\n"] * 2, b"431"),
        ([b"GET / HTTP/1.1\r\nbad header\r\n\r\n"], b"400"),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"], b"400"),
        ([b"\x16\x03\x01\x02\x00\x01\x00"], b"400"),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"], b"400"),
    ],
)
async def test_a_head_that_is_no_head_is_refused(doors: Doors, pieces: list[bytes], status: bytes) -> None:
    answer = await raw(doors, *pieces)
    assert answer.split(b" ")[1] == status
    assert b'"message"' in answer


CHUNKED = (
    b"POST /v1/namespaces HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
    b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
)


async def continued(doors: Doors, rest: bytes) -> bytes:
    """The first line of the answer to a request of which the rest follows when the server asks for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.http_port)
    async with asyncio.timeout(5):
        writer.write(CHUNKED)
        assert b" 100 " in await reader.readline()
        await reader.readline()
        writer.write(rest)
        line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize(
    "rest",
    [b"0\r\nx: " + b"y" * 40_000, b"0\r\n" + b"x: y\r\n" * 6000, b"2;" + b"y" * 40_000],
    ids=["one trailer", "many trailers", "extension"],
)
async def test_what_frames_a_body_without_end_is_refused(doors: Doors, rest: bytes) -> None:
    assert b" 431 " in await continued(doors, rest)


async def test_a_trailer_is_no_header(doors: Doors) -> None:
    trailer = b"0\r\nauthorization: Bearer %b\r\n\r\n" % TOKEN.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.http_port)
    async with asyncio.timeout(5):
        writer.write(CHUNKED.replace(b"expect: 100-continue\r\n", b"") + trailer)
        assert b" 401 " in await reader.readline()
    writer.close()


async def test_who_never_finishes_a_head_is_let_go(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.05)
    assert await raw(doors, b"GET / HTTP/1.1\r\nx: y") == b""


def broken(row: Operation[Any, Any]) -> Iterator[tuple[bytes, str]]:
    """Bytes that are no request of the operation, and what the refusal must name."""
    yield b"\x0a\xff", ""
    yield b"\x00", ""
    yield b"\xff" * 20, ""
    yield b"\x0b\x08\x01", ""
    yield b"\x9a\x9c\x27\x01x", "#"
    yield b"\xba\x3e\x01x", "#999"
    text = next((item for item in fields(row.request) if item.type == "string" and not item.mapping), None)
    if text is not None:
        number = row_number(row, text.wire)
        yield tag(number, 2) + b"\x02\xff\xfe", text.wire
        yield tag(number, 0) + b"\x01", f"#{number}"


def row_number(row: Operation[Any, Any], wire: str) -> int:
    return int(codec.proto_class(row.request).DESCRIPTOR.fields_by_name[wire].number)


def tag(number: int, kind: int) -> bytes:
    value, out = number << 3 | kind, b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


async def test_bytes_that_are_no_request_are_refused_by_every_method(doors: Doors) -> None:
    cases = [(row, data, word) for row in ROWS for data, word in broken(row)]
    async with Client(doors.grpc_port, TOKEN) as client:
        bad = [found for row, data, word in cases if (found := await unlike(client, row, data, word=word))]
    assert not bad, "\n".join(bad)
    assert len(cases) > 200


async def unlike(client: Client, row: Operation[Any, Any], data: bytes, *, word: str) -> str:
    """How the answer differs from a refusal that names the word; empty when it does not."""
    error = await answered(client, row, data)
    if error is None or error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
        return f"{row.name} {data[:20]!r}: {error and error.code()}"
    return "" if word in str(error.details()) else f"{row.name} {data[:20]!r}: {error.details()}"


async def answered(client: Client, row: Operation[Any, Any], data: bytes) -> grpc.aio.AioRpcError | None:
    method = client.method(row.service, row.method, row.package)
    ask = iter([data]) if row.streaming.value == "both" else data
    try:
        call = method(ask, metadata=client.metadata, timeout=10)
        await (call.read() if row.streams else call)
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_a_message_that_is_too_large_is_refused(doors: Doors) -> None:
    async with Client(doors.grpc_port, TOKEN) as client:
        row = next(row for row in ROWS if row.name == "create_service")
        error = await answered(client, row, b"\x0a" + b"x" * (5 << 20))
    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_message_in_a_message_in_a_message_is_refused(doors: Doors) -> None:
    data = b""
    for _ in range(300):
        data = b"\x0a" + varint(len(data)) + data
    async with Client(doors.grpc_port, TOKEN) as client:
        error = await answered(client, next(row for row in ROWS if row.name == "create_service"), data)
    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def varint(value: int) -> bytes:
    return tag(value >> 3, value & 7)
