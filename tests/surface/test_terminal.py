"""Exec over a WebSocket, as docs/reference/exec-websocket.md tells it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from promises import promise
from surface.conftest import Doors
from surface.standins import TOKEN

pytestmark = [pytest.mark.system, promise("terminal.rights")]
INIT = json.dumps({"init": {"command": ["sh"], "tty": True, "terminalSize": {"width": 80, "height": 24}}})


def dial(doors: Doors, target: str = "api", **more: Any) -> connect:
    more.setdefault("additional_headers", {"authorization": f"Bearer {TOKEN}"})
    return connect(f"ws://127.0.0.1:{doors.http_port}/v1/namespaces/default/exec/{target}", **more)


async def failed(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """The error that ends the connection, and the code it is closed with."""
    async with asyncio.timeout(5):
        error = json.loads(await socket.recv())["error"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    return error, socket.close_code or 0


async def test_bytes_and_words_go_both_ways(doors: Doors) -> None:
    async with asyncio.timeout(10), dial(doors) as socket:
        await socket.send(INIT)
        await socket.send(b"\x00ls\n")
        assert await socket.recv() == b"\x01ls\n"
        await socket.send('{"resize": {"width": 120, "height": 40}}')
        assert await socket.recv() == b"\x02120x40"
        await socket.send('{"signal": {"name": "INT"}}')
        await socket.send(b"\x00")
        assert json.loads(await socket.recv()) == {"exit": {"code": 7, "signaled": False, "signal": ""}}
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1000
    first = doors.shelf.instances[0].init
    assert first is not None
    assert (first.service_name, first.namespace, first.command) == ("api", "default", ["sh"])


async def test_an_instance_is_told_from_a_service_by_its_id(doors: Doors) -> None:
    async with asyncio.timeout(10), dial(doors, "api-instance-0123abcd") as socket:
        await socket.send(INIT)
        await socket.send(b"\x00")
        await socket.recv()
    first = doors.shelf.instances[0].init
    assert first is not None
    assert (first.service_name, first.instance_id) == (None, "api-instance-0123abcd")


async def test_a_browser_brings_its_token_as_a_subprotocol(doors: Doors) -> None:
    protocols = ["rune.exec.v1", f"rune.bearer.{TOKEN}"]
    origin = f"http://127.0.0.1:{doors.http_port}"
    async with dial(doors, subprotocols=protocols, origin=origin, additional_headers={}) as socket:
        assert socket.subprotocol == "rune.exec.v1"
        await socket.send(INIT)
        await socket.send(b"\x00")
        assert "exit" in json.loads(await socket.recv())


async def test_without_a_credential_it_ends_before_anything_is_said(doors: Doors) -> None:
    async with dial(doors, additional_headers={}) as socket:
        error, code = await failed(socket)
    assert (error["code"], code) == (16, 4401)


async def test_a_reader_may_not_open_a_terminal(doors: Doors) -> None:
    async with dial(doors, additional_headers={"authorization": "Bearer reader"}) as socket:
        await socket.send(INIT)
        error, code = await failed(socket)
    assert (error["code"], code) == (7, 4403)


async def test_a_page_of_another_origin_may_not_open_a_terminal(doors: Doors) -> None:
    async with dial(doors, origin="https://evil.example") as socket:
        error, code = await failed(socket)
    assert (error["code"], code) == (7, 4403)


@pytest.mark.parametrize(
    "frame, field",
    [
        (b"\x00ls", "init"),
        ('{"resize": {"width": 1}}', "init"),
        ('{"init": {"serviceName": "other", "command": ["sh"]}}', "init.service_name"),
        ('{"init": {"comand": ["sh"]}}', "init.comand"),
        ("{", ""),
    ],
)
async def test_a_first_frame_that_is_wrong_is_refused_by_name(
    doors: Doors, frame: str | bytes, field: str
) -> None:
    async with dial(doors) as socket:
        await socket.send(frame)
        error, code = await failed(socket)
    assert code == 4400
    assert field in error["message"]


async def test_there_is_no_websocket_anywhere_else(doors: Doors) -> None:
    with pytest.raises(InvalidStatus):
        async with connect(f"ws://127.0.0.1:{doors.http_port}/v1/auth/whoami"):
            pytest.fail("it was accepted")


async def test_a_terminal_ends_when_the_server_goes(doors: Doors) -> None:
    async with dial(doors) as socket:
        await socket.send(INIT)
        await socket.send(b"\x00hello")
        assert await socket.recv() == b"\x01hello"
        await doors.http.close(5)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1012
