"""A terminal in the browser: keys go to a command inside an instance, and what it writes comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from rune.api.orchestrator import exec  # noqa: A004 - the noun's name
from rune.api.orchestrator.exec import ExecInitRequest, ExecRequest, TerminalSize
from rune.dashboard.road import Road
from rune.dashboard.sessions import Session
from rune.dashboard.tail import words
from rune.errors import RuneError

WAITING: Final = 64
"""Pieces of input that wait for the command; more stay with the browser."""
COMMANDS: Final = {"sh": ["/bin/sh"], "bash": ["/bin/bash"], "python": ["python3"]}
WIDEST: Final = 500


class _Left(Exception):
    """The browser or the session is gone."""


class Size(msgspec.Struct, frozen=True):
    """What a text frame says: columns and rows."""

    cols: int = 80
    rows: int = 24


async def serve(road: Road, socket: WebSocket, session: Session) -> None:
    """Until the command ends, the browser leaves or the session ends."""
    typed: asyncio.Queue[ExecRequest] = asyncio.Queue(WAITING)
    client = road.client(socket, session.tokens.access)
    told: dict[str, object] = {"end": "the connection was closed"}
    try:
        async with road.streams.running(), asyncio.TaskGroup() as group:
            others = [group.create_task(_read(socket, typed)), group.create_task(_over(session))]
            async with aclosing(client.stream(exec.stream, _first(socket), _more(typed))) as answers:
                async for answer in answers:
                    told = await _pass_on(socket, answer) or told
            for task in others:
                task.cancel()
    except* RuneError as failures:
        told = {"end": words(failures)}
    except* (WebSocketDisconnect, RuntimeError, OSError, _Left):
        told = {}
    if told:
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            await socket.send_text(msgspec.json.encode(told).decode())
            await socket.close()


def _first(socket: WebSocket) -> ExecRequest:
    asked = socket.query_params
    cols, rows = (_bounded(asked.get(name, ""), usual) for name, usual in (("cols", 80), ("rows", 24)))
    return ExecRequest(
        init=ExecInitRequest(
            instance_id=socket.path_params["target"],
            namespace=socket.path_params["namespace"],
            command=COMMANDS.get(asked.get("command", ""), COMMANDS["sh"]),
            env={"TERM": "xterm-256color"},
            tty=True,
            terminal_size=TerminalSize(width=cols, height=rows),
        )
    )


def _bounded(text: str, usual: int) -> int:
    return min(max(int(text), 2), WIDEST) if text.isascii() and text.isdigit() and len(text) < 5 else usual  # noqa: PLR2004 - digits


async def _read(socket: WebSocket, typed: asyncio.Queue[ExecRequest]) -> None:
    while (frame := await socket.receive())["type"] != "websocket.disconnect":
        if data := frame.get("bytes"):
            await typed.put(ExecRequest(stdin=data))
        elif text := frame.get("text"):
            with suppress(msgspec.MsgspecError):
                size = msgspec.json.decode(text, type=Size)
                cols, rows = (min(max(each, 2), WIDEST) for each in (size.cols, size.rows))
                await typed.put(ExecRequest(resize=TerminalSize(width=cols, height=rows)))
    raise _Left


async def _over(session: Session) -> None:
    await session.ended.wait()
    raise _Left


async def _more(typed: asyncio.Queue[ExecRequest]) -> AsyncGenerator[ExecRequest]:
    while True:
        yield await typed.get()


async def _pass_on(socket: WebSocket, answer: exec.ExecResponse) -> dict[str, object] | None:
    """Send what it wrote; how it ended, if that is what it says."""
    if data := answer.stdout or answer.stderr:
        await socket.send_bytes(data)
    if answer.exit is not None:
        return {"end": f"ended with {answer.exit.code}", "code": answer.exit.code}
    return None
