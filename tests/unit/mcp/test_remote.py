"""What a client says to a server at a URL: what the transport cannot carry is the answer to one request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rune.mcp.proxy import messages
from rune.mcp.proxy.relay import Relay
from rune.mcp.proxy.remote import RemoteLane
from surface.mcp.guarded import Guarded
from unit.mcp.test_proxy_abuse import Memory

NEXT = b'{"jsonrpc":"2.0","id":2,"method":"ping"}'


class Outgoing:
    """The transport's end."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, item: Any) -> None:
        self.sent.append(item.message.model_dump(by_alias=True, exclude_unset=True))

    async def aclose(self) -> None:
        """Nothing more comes."""


async def said(folder: Path, *lines: bytes) -> tuple[list[Any], list[Any]]:
    """What the server got, and what the client."""
    outgoing, client, guarded = Outgoing(), Memory(*lines), Guarded(folder)
    server = RemoteLane(None, outgoing, most=1 << 20)
    await Relay(client, server, guarded.warden, say=guarded.said.append).upward()
    return outgoing.sent, [json.loads(line) for line in client.told]


async def test_half_a_character_reaches_a_server_at_a_url_as_a_question_mark(tmp_path: Path) -> None:
    call = rb'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"x":"cut \ud83d"}}}'
    (sent, after), told = await said(tmp_path, call, NEXT)
    assert sent["params"]["arguments"] == {"x": "cut ?"}
    assert after["id"] == 2
    assert told == []


@pytest.mark.parametrize(
    "odd",
    [
        b'{"id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
        b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    ],
)
async def test_a_request_that_cannot_be_sent_is_answered_and_others_go_on(tmp_path: Path, odd: bytes) -> None:
    (sent,), (answer,) = await said(tmp_path, odd, NEXT)
    assert sent["id"] == 2
    assert answer["id"] == json.loads(odd)["id"]
    assert answer["error"]["code"] == messages.INVALID_REQUEST


@pytest.mark.parametrize("odd", [b"{}", b'{"method":"notifications/x"}', b'[{"jsonrpc":"1.0"}]'])
async def test_what_nobody_waits_for_and_cannot_be_sent_is_left_out(tmp_path: Path, odd: bytes) -> None:
    (sent,), told = await said(tmp_path, odd, NEXT)
    assert sent["id"] == 2
    assert told == []
