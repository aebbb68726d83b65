"""HTTP to a server behind the guard: whatever goes wrong is the answer to one request, and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from rune.mcp.proxy.reach import Reach

Handler = Callable[[httpx2.Request], httpx2.Response]
MOST = 1_000


async def ask(handler: Handler) -> httpx2.Response:
    """What the SDK would see."""
    async with httpx2.AsyncClient(transport=Reach(httpx2.MockTransport(handler), most=MOST)) as client:
        return await client.post("http://server/mcp", json={})


def answering(status: int, **given: Any) -> Handler:
    """A server that always says the same."""
    return lambda _request: httpx2.Response(status, **given)


class Pieces(httpx2.AsyncByteStream):
    """An answer that comes in pieces, and breaks off at the end where it is told to."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces, self._breaks = pieces, breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._breaks:
            raise httpx2.ReadError("reset")


def unreachable(_request: httpx2.Request) -> httpx2.Response:
    """Nobody listens."""
    raise httpx2.ConnectError("refused")


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (unreachable, "cannot be reached: refused"),
        (answering(401, text="no"), "wants a log-in (HTTP 401)"),
        (answering(403, json={"error": "invalid_token"}), "wants a log-in (HTTP 403)"),
        (answering(500, text="<h1>oops</h1>"), "answered HTTP 500"),
        (answering(200, stream=Pieces(b"x"), headers={"content-encoding": "gzip"}), "compresses"),
    ],
)
async def test_a_failure_is_an_error_of_the_protocol(handler: Handler, says: str) -> None:
    answer = await ask(handler)
    assert answer.status_code >= 400
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "handler", [answering(404, text=""), answering(400, json={"jsonrpc": "2.0", "error": {}}), answering(202)]
)
async def test_what_the_sdk_reads_by_itself_is_left_to_it(handler: Handler) -> None:
    answer, direct = await ask(handler), handler(httpx2.Request("POST", "http://server"))
    assert (answer.status_code, answer.content) == (direct.status_code, direct.content)


@pytest.mark.parametrize(
    ("stream", "says"),
    [(Pieces(b"x" * 600, b"x" * 600), "too large"), (Pieces(b"x", breaks=True), "connection broke")],
)
async def test_a_long_or_broken_answer_is_an_error_that_the_sdk_expects(stream: Pieces, says: str) -> None:
    with pytest.raises(httpx2.StreamError, match=says):
        await ask(answering(200, stream=stream, headers={"content-type": "application/json"}))


async def test_an_answer_of_the_allowed_length_arrives_whole() -> None:
    answer = await ask(answering(200, stream=Pieces(b"x" * MOST)))
    assert len(answer.content) == MOST


async def test_a_stream_of_events_may_be_as_long_as_it_likes() -> None:
    events = answering(200, stream=Pieces(*[b"x" * 600] * 5), headers={"content-type": "text/event-stream"})
    assert len((await ask(events)).content) == 3_000
