"""Port forwarding: connections that come over the API, each joined with a port of a ready copy.

Only ports that the service declares can be reached: a process shares the machine's addresses, and whoever may
forward to it may not therefore reach whatever else listens on the machine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

from rune.api.orchestrator import portforward as api
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.portforward import PortForwardClientMessage as Ask
from rune.api.orchestrator.portforward import PortForwardServerMessage as Answer
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Store
from rune.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RuneError,
)
from rune.orchestrator.copies import copies_of, template_of
from rune.orchestrator.feeds import Feeds

CHUNK: Final = 64 << 10
WINDOW: Final = 1 << 20
"""Bytes that may wait for a copy to take them; past that the whole stream waits."""
STALL: Final = 30.0
"""Seconds for which the stream waits for one connection's copy, which is then closed."""
CONNECT: Final = 5.0
MOST: Final = 256
"""Connections of one stream."""
LOOPBACK: Final = "127.0.0.1"
REQUESTS: Final = ""
"""The feed of what the client says; the others are called by the number of their connection."""


@dataclass(slots=True)
class Connection:
    """One connection to a copy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_ended: bool = False
    """The client has said its last word."""

    def close(self) -> None:
        """End it, once the copy has taken what waits."""
        self.writer.close()


@dataclass(slots=True)
class Tunnel:
    """One stream and its connections."""

    target: Target
    answers: Feeds[Answer] = field(default_factory=Feeds["Answer"])
    connections: dict[int, Connection] = field(default_factory=dict[int, "Connection"])

    async def take(self, ask: Ask) -> Answer | None:
        """Do what the client says; an answer says why a connection is closed."""
        if ask.open is not None:
            return await self._open(ask.open)
        if ask.data is not None:
            return await self._write(ask.data)
        if ask.close is not None:
            await self.end(ask.close.conn_id)
            return None
        raise InvalidArgument("a message after the first must be open, data or close")

    async def end(self, number: int) -> None:
        """Close a connection; one that is closed already is fine."""
        connection = self.connections.pop(number, None)
        if connection:
            await self.answers.end(str(number))
            connection.close()

    async def close(self) -> None:
        """Close all of them."""
        await self.answers.close()
        for connection in self.connections.values():
            connection.close()

    async def _open(self, ask: api.PortForwardOpen) -> Answer | None:
        number = ask.conn_id
        if number in self.connections:
            raise InvalidArgument(f"connection {number} is open already")
        try:
            if len(self.connections) >= MOST:
                raise ResourceExhausted(f"{MOST} connections are open")
            connection = await self.target.connect(ask.remote_port)
        except RuneError as error:
            return closed(number, error.message)
        self.connections[number] = connection
        self.answers.open(str(number), self._said(number, connection))
        return None

    async def _write(self, ask: api.PortForwardData) -> Answer | None:
        connection = self.connections.get(ask.conn_id)
        if connection is None:  # it closed while this was on its way
            return None
        if connection.is_ended:
            raise InvalidArgument(f"connection {ask.conn_id} has ended: nothing may follow an empty payload")
        if not ask.payload:
            connection.is_ended = True
            with suppress(OSError):
                connection.writer.write_eof()
            return None
        connection.writer.write(ask.payload)
        try:
            async with asyncio.timeout(STALL):
                await connection.writer.drain()
        except TimeoutError:
            await self.end(ask.conn_id)
            return closed(ask.conn_id, f"the copy took nothing for {STALL:g} s")
        except OSError:
            return None  # its reader finds out why
        return None

    async def _said(self, number: int, connection: Connection) -> AsyncGenerator[Answer]:
        """What the copy says, then that the connection is over: with its last word, it is."""
        error = ""
        try:
            while data := await connection.reader.read(CHUNK):
                yield Answer(data=api.PortForwardData(conn_id=number, payload=data))
        except OSError as failure:
            error = os.strerror(failure.errno) if failure.errno else str(failure)
        self.connections.pop(number, None)
        connection.close()
        yield closed(number, error)


class PortForward:
    """Handler of the one operation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, dispatcher: Dispatcher) -> None:
        """Make this the handler of the operation."""
        dispatcher.handles(api.stream)(self.stream)

    async def stream(self, call: Call, ask: Ask, later: AsyncIterator[Ask]) -> AsyncIterator[Answer]:
        """Say that it is ready, then carry connections until the client ends the stream."""
        if ask.init is None:
            raise InvalidArgument("the first message must be init")
        target = Target(self._store, call.namespace, ask.init)
        yield Answer(ready=target.ready())
        tunnel = Tunnel(target)
        try:
            async with aclosing(_carried(tunnel, later)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            await tunnel.close()


async def _carried(tunnel: Tunnel, later: AsyncIterator[Ask]) -> AsyncGenerator[Answer]:
    feeds = tunnel.answers
    feeds.open(REQUESTS, _taken(tunnel, later))
    while REQUESTS in feeds:
        arrived = await feeds.take()
        if arrived is None:
            return
        key, answer = arrived
        if answer is not None:
            yield answer
            feeds.more(key)


async def _taken(tunnel: Tunnel, later: AsyncIterator[Ask]) -> AsyncGenerator[Answer]:
    """Do what the client says, one after the other."""
    async for ask in later:
        answer = await tunnel.take(ask)
        if answer is not None:
            yield answer


class Target:
    """A service or an instance whose declared ports can be reached; raises NotFound when there is none."""

    def __init__(self, store: Store, namespace: str, init: api.PortForwardInit) -> None:
        self._store, self._namespace = store, namespace
        self._service, self._instance = init.service_name or "", init.instance_id or ""
        if not (self._service or self._instance):
            raise InvalidArgument("init must name a service or an instance")
        self._only = frozenset(init.ports)
        self._turn = -1
        copy = self._copy()
        for port in init.ports:
            self._number(copy, port)

    def ready(self) -> api.PortForwardReady:
        """Which instance would be next."""
        copy = self._copy()
        return api.PortForwardReady(
            instance_id=copy.id, namespace=copy.namespace, service_name=copy.service_name
        )

    async def connect(self, port: int) -> Connection:
        """A connection to a port of a ready copy; raises RuneError with the reason."""
        if self._only and port not in self._only:
            raise InvalidArgument(f"port {port} is not among those that init named")
        copy = self._copy()
        host, number = copy.ip or LOOPBACK, self._number(copy, port)
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await asyncio.open_connection(host, number, limit=CHUNK)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{copy.id} did not answer at port {number} within {CONNECT:g} s"
            ) from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise FailedPrecondition(f"{copy.id} cannot be reached at port {number}: {reason}") from error
        writer.transport.set_write_buffer_limits(high=WINDOW)
        return Connection(reader, writer)

    def _copy(self) -> Instance:
        if self._instance:
            copy = self._store.find(Instance, self._namespace, self._instance)
            if copy is None:
                raise NotFound(f"instance not found: {self._instance}")
            if not copy.pid and copy.status is not InstanceStatus.RUNNING:
                status = copy.status.value.rpartition("STATUS_")[2].capitalize()
                raise FailedPrecondition(f"instance is not running, status: {status}")
            return copy
        if self._store.find(Service, self._namespace, self._service) is None:
            raise NotFound(f"service not found: {self._namespace}/{self._service}")
        copies = copies_of(self._store, self._namespace, self._service)
        ready = [copy for copy in copies if copy.ready and copy.desired is DesiredState.RUNNING]
        if not ready:
            raise FailedPrecondition(f"service {self._namespace}/{self._service} has no ready copy")
        self._turn += 1
        return ready[self._turn % len(ready)]

    def _number(self, copy: Instance, port: int) -> int:
        """Where the copy listens for it."""
        template = template_of(self._store, copy)
        declared = template.spec.ports if template else []
        tcp = [each for each in declared if each.protocol in ("", "tcp")]
        for each in tcp:
            if port in (each.port, each.target_port):
                return each.target_port or each.port
        numbers = ", ".join(str(each.port) for each in tcp) or "none"
        raise InvalidArgument(
            f"port {port} is not declared by service {copy.service_name}; its tcp ports: {numbers}"
        )


def closed(number: int, error: str) -> Answer:
    """That a connection is over."""
    return Answer(close=api.PortForwardClose(conn_id=number, error=error))
