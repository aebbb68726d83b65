"""Live logs: lines over a connection, many at a time, never faster than the browser takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from rune.api.orchestrator import logs
from rune.dashboard.road import Road
from rune.dashboard.sessions import Session
from rune.errors import RuneError

TAIL: Final = 200
"""Lines of each instance that are shown at first."""
AT_ONCE: Final = 500
GATHER: Final = 0.03
"""Seconds in which lines come together."""
LONGEST: Final = 8192
"""Characters of a line that are shown."""


async def serve(road: Road, socket: WebSocket, session: Session) -> None:
    """Until the browser leaves, the session ends or there is nothing left to follow."""
    asked = logs.LogRequest(
        resource_target=socket.path_params["target"],
        namespace=socket.path_params["namespace"],
        filter=socket.query_params.get("filter", "")[:200],
        follow=True,
        tail=TAIL,
    )
    failed = ""
    client = road.client(socket, session.tokens.access)
    try:
        async with road.streams.running(), asyncio.TaskGroup() as group:
            leaving = [group.create_task(_gone(socket)), group.create_task(_over(session))]
            async with aclosing(client.stream(logs.get, asked)) as lines:
                await _pass_on(socket, lines)
            for task in leaving:
                task.cancel()
    except* RuneError as failures:
        failed = words(failures)
    except* (WebSocketDisconnect, RuntimeError, OSError, _Left):
        failed = ""  # nobody is there to be told
    with suppress(WebSocketDisconnect, RuntimeError, OSError):
        await socket.send_text(
            msgspec.json.encode({"end": failed or "there is nothing more to follow"}).decode()
        )
        await socket.close()


class _Left(Exception):
    """The browser or the session is gone."""


def words(failures: BaseExceptionGroup[RuneError]) -> str:
    """The first failure's message."""
    first: RuneError | BaseExceptionGroup[RuneError] = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first.message


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    raise _Left


async def _over(session: Session) -> None:
    await session.ended.wait()
    raise _Left


async def _pass_on(socket: WebSocket, lines: AsyncIterator[logs.LogResponse]) -> None:
    waiting: asyncio.Queue[logs.LogResponse | None] = asyncio.Queue(AT_ONCE)

    async def read() -> None:
        async for line in lines:
            await waiting.put(line)
        await waiting.put(None)

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        while (line := await waiting.get()) is not None:
            await asyncio.sleep(GATHER)
            batch = [line]
            while not waiting.empty() and len(batch) < AT_ONCE:
                more = waiting.get_nowait()
                if more is None:
                    waiting.put_nowait(None)
                    break
                batch.append(more)
            await socket.send_text(msgspec.json.encode({"lines": list(map(_line, batch))}).decode())
        await reading


def _line(line: logs.LogResponse) -> tuple[str, str, str, str]:
    moment = line.timestamp.strftime("%H:%M:%S.%f")[:-3] if line.timestamp else ""
    return moment, line.instance_id, line.stream, line.content[:LONGEST]
