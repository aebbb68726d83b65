"""An open page's connection: it says where it is, and is told how that looks whenever it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from rune.dashboard.ask import Screen
from rune.dashboard.book import Book
from rune.dashboard.notices import Bell
from rune.dashboard.road import Road
from rune.dashboard.sessions import Session
from rune.dashboard.shared import Drawn, drawn
from rune.errors import InvalidArgument, PermissionDenied, ResourceExhausted, RuneError, Unauthenticated

OVER: Final = 4401
"""Closes a connection whose session is over; the browser goes to the log-in."""
AGAIN: Final = 1012
"""The server goes away, or failed: the browser comes again."""
LOOK: Final = 20.0
"""Seconds after which a session is looked at again although nothing has changed: tokens expire."""
GATHER: Final = 0.02
"""Seconds in which what changes at the same time comes together."""
SHARE: Final = 2
"""Telling all open pages takes at most one in so many seconds of one core; then they wait longer."""
SLOWEST: Final = 2.0


class Place(msgspec.Struct, frozen=True):
    """Where a page is, and the tag of what it shows."""

    path: str
    tag: str = ""


class Live:
    """One connection."""

    def __init__(self, road: Road, book: Book, socket: WebSocket, *, session: Session) -> None:
        self._road, self._book, self._socket, self._session = road, book, socket, session
        self._place = Place("/")

    async def serve(self) -> None:
        """Until the browser leaves or the session ends."""
        code = 0
        try:
            with self._road.notices.listening() as bell:
                await self._talk(bell)
        except* Unauthenticated:
            code = OVER
        except* RuneError:
            code = AGAIN
        except* (WebSocketDisconnect, RuntimeError, OSError):
            code = 0  # nobody is there any more
        if code:
            with suppress(WebSocketDisconnect, RuntimeError, OSError):
                await self._socket.close(code)

    async def _talk(self, bell: Bell) -> None:
        async with self._road.streams.running(), asyncio.TaskGroup() as group:
            group.create_task(self._listen(bell))
            group.create_task(self._end())
            await self._tell(bell)

    async def _listen(self, bell: Bell) -> None:
        """Where the page is; raises WebSocketDisconnect when it is closed."""
        while True:
            frame = await self._socket.receive()
            if frame["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            with suppress(msgspec.MsgspecError):
                self._place = msgspec.json.decode(frame.get("text") or "", type=Place)
                bell.rung.set()

    async def _end(self) -> None:
        await self._session.ended.wait()
        raise Unauthenticated("logged out")

    async def _tell(self, bell: Bell) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await bell.rung.wait()
            if self._road.sessions.is_over(self._session):
                raise Unauthenticated("the session is over")
            bell.rung.clear()
            await self._show(bell)
            await asyncio.sleep(min(max(self._road.notices.cost * SHARE, GATHER), SLOWEST))

    async def _show(self, bell: Bell) -> None:
        """Send what is to be seen, if it is not what the page shows."""
        place = self._place
        bell.watches = self._book.watches(place.path)  # first: what changes from here on rings
        bell.cost = 0.0
        found = await self._drawn(place.path, bell)
        if place is not self._place or found.tag == place.tag:
            return
        self._place = Place(place.path, found.tag)
        with _measured(bell):
            await self._socket.send_text(found.told)

    async def _drawn(self, path: str, bell: Bell) -> Drawn:
        """How the page looks now; what it shows to many is drawn by one of them."""
        moment = self._road.notices.moment  # first: what changes from here on is drawn again
        with _measured(bell):
            ask = await self._road.ask(self._socket, self._session, path)

        async def show() -> Screen:
            with _measured(bell):
                return await self._book.show(ask)

        if self._book.is_shared(path):
            with suppress(PermissionDenied, ResourceExhausted, InvalidArgument):  # told to nobody else
                return await self._road.shared.get(ask.rights, path, show, moment=moment)
        with _measured(bell):
            return drawn(path, await self._book.draw(ask))


@contextmanager
def _measured(bell: Bell) -> Generator[None]:
    """Adds to the bell what this took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    yield
    bell.cost += loop.time() - begun
