"""The ASGI middleware in front of a FastAPI application."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from attacks import BLAND, KEY, ORDER
from controlplane import Standin
from models import pieces
from promises import promise
from rune import Shield, ShieldBlockedError
from rune.integrations.fastapi import ShieldMiddleware

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), promise("shield.asgi")]


def application(shield: Shield, **more: Any) -> TestClient:
    app = FastAPI()
    app.state.asked = []

    @app.post("/echo")
    def echo(body: dict[str, Any]) -> dict[str, Any]:
        app.state.asked.append(body)
        return body

    @app.get("/leak")
    def leak() -> dict[str, str]:
        return {"key": KEY}

    @app.get("/say")
    def say(text: str) -> str:
        return text

    @app.get("/stream")
    def stream(secret: str = "") -> StreamingResponse:
        def events() -> Iterator[str]:
            for piece in pieces(BLAND + (KEY if secret else "") + BLAND):
                yield f"data: {json.dumps({'id': 'same-1', 'delta': {'text': piece}})}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/packed")
    def packed() -> Response:
        return Response(
            gzip.compress(KEY.encode()), headers={"Content-Encoding": "gzip"}, media_type="text/plain"
        )

    app.add_middleware(ShieldMiddleware, shield=shield, agent_id="door", **more)
    return TestClient(app)


def test_what_is_harmless_passes_both_ways(shield: Shield) -> None:
    client = application(shield)
    assert client.post("/echo", json={"a": ["hello", {"b": 1}]}).json() == {"a": ["hello", {"b": 1}]}
    assert client.get("/say", params={"text": "hello"}).json() == "hello"


@pytest.mark.parametrize(
    "body", [json.dumps({"a": {"deep": [ORDER]}}), json.dumps({"a": ORDER}).replace("I", "\\u0049"), ORDER]
)
def test_an_order_in_a_body_never_reaches_the_application(shield: Shield, body: str) -> None:
    client: Any = application(shield)
    answer = client.post("/echo", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 403
    assert answer.json()["eventId"].startswith("evt_")
    assert set(answer.json()) == {"error", "code", "eventId"}
    assert not client.app.state.asked


def reader(shield: Shield, **more: Any) -> TestClient:
    """An application that reads JSON whatever the request calls it, as many do."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        await JSONResponse(len(body))(scope, receive, send)

    return TestClient(ShieldMiddleware(app, shield=shield, **more))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "image/png"},
        {"Content-Type": "application/vnd.api+json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_a_request_calls_its_body_gets_no_order_past(
    shield: Shield, headers: dict[str, str], encoding: str
) -> None:
    client = reader(shield)
    for order in (ORDER, "".join(f"\\u{ord(char):04x}" for char in ORDER)):
        body = f'{{"pad": [{"0," * 30_000}0], "text": "{order}"}}'.encode(encoding)
        assert client.post("/", content=body, headers=headers).status_code == 403


def test_an_order_in_a_field_of_a_form_is_stopped(shield: Shield) -> None:
    client = reader(shield)
    assert client.post("/", data={"a": ORDER}).status_code == 403
    assert client.post("/", data={ORDER: ""}).status_code == 403
    upload = {"file": ("a.png", b"\x89PNG\xff\xfe")}
    assert client.post("/", data={"a": ORDER}, files=upload).status_code == 403
    assert client.post("/", data={"a": "hello"}, files=upload).status_code == 200


def test_a_long_body_passes_where_it_is_no_text(shield: Shield) -> None:
    client = reader(shield, max_body=100)
    picture = b"\x89PNG" + bytes(range(256)) * 4
    assert client.post("/", content=picture).json() == len(picture)
    assert client.post("/", content=iter([picture, picture])).json() == 2 * len(picture)
    assert client.post("/", content=b"x" * 200).status_code == 413
    assert client.post("/", content=b"").json() == 0


def test_an_order_in_the_address_is_stopped(shield: Shield) -> None:
    assert application(shield).get("/say", params={"text": ORDER}).status_code == 403


def test_a_secret_in_an_answer_is_stopped_before_it_began(shield: Shield) -> None:
    answer = application(shield).get("/leak")
    assert answer.status_code == 403
    assert KEY not in answer.text


def test_a_body_that_is_too_long_is_refused(shield: Shield) -> None:
    answer = application(shield, max_body=100).post("/echo", json={"a": "x" * 200})
    assert answer.status_code == 413


def test_a_body_that_is_wrong_is_the_applications_business(shield: Shield) -> None:
    answer = application(shield).post("/echo", content=b"{half", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_a_clean_stream_arrives_as_it_was_sent(shield: Shield) -> None:
    answer = application(shield).get("/stream")
    said = [json.loads(line[6:])["delta"]["text"] for line in answer.text.splitlines() if line]
    assert "".join(said) == BLAND + BLAND


def test_a_key_that_a_stream_says_in_many_events_is_stopped(shield: Shield) -> None:
    with pytest.raises(ShieldBlockedError) as caught:
        application(shield).get("/stream", params={"secret": "yes"})
    assert "GitHub" in str(caught.value)


async def test_what_was_sent_of_a_stopped_stream_holds_no_letter_of_the_key(shield: Shield) -> None:
    sent: list[bytes] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        kind = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        for piece in pieces(BLAND + KEY + BLAND):
            # Lines that end in the middle of a message.
            line = json.dumps({"model": "m", "text": piece}).encode() + b"\n"
            await send({"type": "http.response.body", "body": line[:9], "more_body": True})
            await send({"type": "http.response.body", "body": line[9:], "more_body": True})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    scope: Any = {"type": "http", "path": "/", "headers": [], "query_string": b""}
    with pytest.raises(ShieldBlockedError):
        await ShieldMiddleware(app, shield=shield)(scope, receive, send)
    lines = b"".join(sent).splitlines()
    assert lines
    assert BLAND.startswith("".join(json.loads(line)["text"] for line in lines))


def test_paths_that_are_not_named_and_compressed_bodies_are_left_alone(shield: Shield) -> None:
    client = application(shield, paths=("/echo",))
    assert client.get("/leak").json() == {"key": KEY}
    assert client.post("/echo", json={"a": ORDER}).status_code == 403
    assert application(shield).get("/packed").text == KEY


def test_events_tell_framework_agent_and_a_session_for_each_request(plane: Standin) -> None:
    with Shield(api_key="k", endpoint=plane.url) as shield:
        client = application(shield)
        client.post("/echo", json={"a": "hello"})
        client.post("/echo", json={"a": "other"})
        assert shield.flush(5)
    assert {(event["framework"], event["agent_id"]) for event in plane.events} == {("asgi", "door")}
    assert len({event["session_id"] for event in plane.events}) == 2
    assert [event["direction"] for event in plane.events] == ["inbound", "outbound"] * 2
