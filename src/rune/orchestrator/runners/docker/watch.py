"""Stays in touch with the Engine: listens to its events, and looks at everything after it was away.

An event is never believed, it only says where to look. The stream is opened before the look at
everything, so that nothing that happens in between is lost, and a ping notices an Engine that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Protocol

import msgspec

from rune.errors import RuneError, Unavailable
from rune.orchestrator.runners.docker import containers
from rune.orchestrator.runners.docker.engine import Engine, decode, lines

logger = logging.getLogger(__name__)

BACKOFF = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts to get the Engine back; the last one for ever."""

PING = 15.0
"""Seconds between questions whether the Engine still answers."""

EVENTS = ("start", "die", "oom", "destroy", "exec_die")
"""`oom` may come after `die`, and only then is the reason known."""


class Actor(msgspec.Struct, frozen=True, rename="pascal"):
    """Which container it is about; the attributes hold its labels."""

    id: str = msgspec.field(name="ID")
    attributes: dict[str, str] = {}


class Event(msgspec.Struct, frozen=True, rename="pascal"):
    """Something that happened to a container."""

    action: str
    actor: Actor


class Watcher(Protocol):
    """Whoever wants to know."""

    async def look_at_all(self) -> None:
        """Anything may have happened."""
        ...

    async def look(self, container: str, instance: str, *, only_started: bool) -> None:
        """Something happened to this container; or it was only started, which may be known."""
        ...

    def command_ended(self, command: str, code: int) -> None:
        """A command inside a container ended."""
        ...

    def lost(self) -> None:
        """The Engine is out of reach."""
        ...


class Watch:
    """The connection to the Engine, minded by a task of its own until it is closed."""

    def __init__(self, engine: Engine, owner: str, watcher: Watcher) -> None:
        self._engine = engine
        self._owner = owner
        self._watcher = watcher
        self._minder: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._retry = asyncio.Event()
        self._turned = asyncio.Event()
        self._notify: list[Callable[[], None]] = []
        self.reason = "the Docker runner is not started"
        """Why the Engine is out of reach; empty while it is not."""

    async def start(self) -> None:
        """In touch, or Unavailable with the reason; then it goes on trying by itself. Twice is fine."""
        self._tried.clear()
        if self._minder is None:
            # No task group: it lives as long as the runner, and ends in `close`.
            self._minder = asyncio.get_running_loop().create_task(self._mind(), name="docker runner")
        elif self.reason:
            self._retry.set()
        else:
            return
        await self._tried.wait()
        self.require()

    def on_turn(self, notify: Callable[[], None]) -> None:
        """Call it whenever the Engine is lost, and whenever it is back."""
        self._notify.append(notify)

    def require(self) -> None:
        """Raises Unavailable with the reason while the Engine is out of reach."""
        if self.reason:
            raise Unavailable(self.reason)

    async def back(self) -> None:
        """Wait until the Engine is in reach; raises Unavailable once this is closed."""
        while self.reason:
            if self._minder is None:
                raise Unavailable(self.reason)
            await self._turned.wait()

    async def close(self) -> None:
        """Listen no more. Twice is fine."""
        if self._minder:
            minder, self._minder = self._minder, None
            minder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await minder
        self._turn("the Docker runner is closed")

    async def _mind(self) -> None:
        tries = 0
        while True:
            try:
                await self._stay()
            except* RuneError as group:
                if not self.reason:
                    tries = 0
                self._out(_first(group))
            tries += 1
            self._retry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BACKOFF[min(tries, len(BACKOFF)) - 1]):
                    await self._retry.wait()

    async def _stay(self) -> None:
        """In touch until the Engine is lost; always raises."""
        since = await self._open()
        filters = {
            "type": ["container"],
            "event": list(EVENTS),
            "label": [f"{containers.OWNER}={self._owner}"],
        }
        params = {"since": since, "filters": msgspec.json.encode(filters).decode()}
        events = self._engine.stream("GET", "events", what="tell its events", params=params)
        async with events as stream, asyncio.TaskGroup() as group:
            group.create_task(self._ping())
            await self._watcher.look_at_all()
            self._in()
            looks: dict[str, bool] = {}
            async for line in lines(stream):
                self._take(decode(line, Event), group, looks)
            raise Unavailable(f"the Docker Engine at {self._engine.url} has ended the connection")

    async def _open(self) -> str:
        """The Engine's own time: events since then are told again, so that none falls into the gap."""
        await self._engine.open()
        async with self._engine.stream("GET", "_ping", what="answer a ping") as response:
            date = response.headers.get("Date", "")
        try:
            return str(int(parsedate_to_datetime(date).timestamp()))
        except ValueError as error:
            raise Unavailable(f"{self._engine.url} does not tell the time as a Docker Engine does") from error

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING)
            await self._engine.call("GET", "_ping", what="answer a ping")

    def _take(self, event: Event, group: asyncio.TaskGroup, looks: dict[str, bool]) -> None:
        """Look where it points; several events of one container that has not been looked at are one.

        `looks` says of each such container whether it was only started.
        """
        about = event.actor
        if event.action == "exec_die":
            code = int(about.attributes.get("exitCode") or 0)
            self._watcher.command_ended(about.attributes.get("execID", ""), code)
            return
        is_waiting = about.id in looks
        looks[about.id] = event.action == "start" and looks.get(about.id, True)
        if not is_waiting:
            instance = about.attributes.get(containers.INSTANCE, "")
            group.create_task(self._look(about.id, instance, looks))

    async def _look(self, container: str, instance: str, looks: dict[str, bool]) -> None:
        await asyncio.sleep(0)
        only_started = looks.pop(container)
        await self._watcher.look(container, instance, only_started=only_started)

    def _in(self) -> None:
        if self.reason:
            logger.info("docker engine in reach", extra={"engine": self._engine.url})
        self._turn("")

    def _out(self, error: RuneError) -> None:
        if not self.reason:
            logger.warning("docker engine lost", extra={"reason": str(error)})
        self._turn(str(error))
        self._watcher.lost()

    def _turn(self, reason: str) -> None:
        is_news = bool(self.reason) is not bool(reason)
        self.reason = reason
        self._tried.set()
        self._turned.set()
        self._turned = asyncio.Event()
        for notify in self._notify if is_news else ():
            notify()


def _first(group: BaseExceptionGroup[RuneError]) -> RuneError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
