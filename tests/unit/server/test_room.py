"""Bodies that are still coming share their room; one that has come, or was given up, leaves it to others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from planes import turn
from rune.errors import Unavailable
from rune.server.exchange import Exchange
from rune.server.room import Room


def request(*pieces: bytes, ends: bool) -> Exchange:
    """A POST whose body comes in these pieces, and perhaps never ends."""
    left = [*pieces]

    async def receive() -> Any:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not ends}

    async def send(_message: Any) -> None:
        """Nothing is answered here."""

    headers = [(b"content-type", b"application/json")]
    return Exchange({"type": "http", "headers": headers}, receive, send, request_id="r-1")


async def test_who_sends_slowly_takes_no_more_than_the_room_there_is() -> None:
    room = Room(10)
    slow = asyncio.ensure_future(request(b"123456", ends=False).body(room=room))
    await turn()
    with pytest.raises(Unavailable, match="no room"):
        await request(b"12345", ends=True).body(room=room)
    assert await request(b"12", b"34", ends=True).body(room=room) == b"1234"
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert await request(b"1234567890", ends=True).body(room=room) == b"1234567890"
