"""`rune port-forward`: ports of this machine that lead, through the server, to a service or an instance."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from rune.api.orchestrator import portforward as api
from rune.api.orchestrator.portforward import PortForwardClientMessage as Ask
from rune.api.orchestrator.portforward import PortForwardServerMessage as Answer
from rune.cli import options
from rune.cli.connect import connected
from rune.cli.state import State
from rune.cli.targets import Target
from rune.cli.targets import target as target_of
from rune.errors import RuneError, Unavailable

if TYPE_CHECKING:
    from rune.client.client import Client

CHUNK: Final = 64 << 10
AHEAD: Final = 16
"""Messages that wait for the server; more stay with the programs here."""
WINDOW: Final = 1 << 20
STALL: Final = 30.0
"""Seconds for which all connections wait for a program here that does not read; then it is cut off."""
LARGEST: Final = 65_535


class Ports(NamedTuple):
    """A port here, 0 for any free one, and the one that it leads to."""

    local: int
    remote: int


class PortsType(click.ParamType[Ports]):
    """`8080:80`, `80` for `80:80`, `:80` for any free port here."""

    name = "[LOCAL:]REMOTE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ports:  # noqa: ANN401 - click's way
        """The two numbers; fails with what is wrong."""
        found = re.fullmatch(r"(?:(\d{0,5}):)?(\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is neither REMOTE nor LOCAL:REMOTE, in numbers", param, ctx)
        remote = int(found[2])
        local = remote if found[1] is None else int(found[1] or 0)
        if not 1 <= remote <= LARGEST or local > LARGEST:
            self.fail(f"{value!r}: a port is at most {LARGEST}, and not 0", param, ctx)
        return Ports(local, remote)


@click.command(
    "port-forward",
    epilog="Examples: rune port-forward web 8080:80; rune port-forward db 5432 :9187; "
    "rune port-forward instance/ID 8080",
)
@click.argument("target", metavar="TARGET")
@click.argument("ports", metavar="[LOCAL:]REMOTE...", type=PortsType(), nargs=-1, required=True)
@options.namespace
@click.option("--address", default="127.0.0.1", metavar="HOST", help="Where to listen. [127.0.0.1]")
@click.pass_obj
def port_forward(state: State, target: str, ports: tuple[Ports, ...], **given: Any) -> None:  # noqa: ANN401 - click's way
    """Reach ports that TARGET, a service or an instance, declares, until this command is interrupted."""
    where = target_of(target)
    init = api.PortForwardInit(
        service_name=where.name if where.kind == "service" else None,
        instance_id=where.name if where.kind == "instance" else None,
        namespace=state.namespace(given["namespace"]),
        ports=sorted({pair.remote for pair in ports}),
    )
    connected(state, lambda client: Forwarding(where, given["address"]).run(client, init, ports))


class Forwarding:
    """One stream to the server, and the connections here that it carries."""

    def __init__(self, where: Target, address: str) -> None:
        self._where, self._address = where, address
        self._numbers = count(1)
        self._asks: asyncio.Queue[Ask] = asyncio.Queue(AHEAD)
        self._writers: dict[int, asyncio.StreamWriter] = {}

    async def run(self, client: Client, init: api.PortForwardInit, ports: tuple[Ports, ...]) -> None:
        """Until a signal; raises RuneError when the server refuses, or ends the stream."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                carrying = tasks.create_task(self._carry(client, init, ports))
                await_stop = tasks.create_task(stop.wait())
                carrying.add_done_callback(lambda _: await_stop.cancel())
                await asyncio.wait([await_stop])
                carrying.cancel()
        except* RuneError as failures:
            raise failures.exceptions[0] from None
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            for writer in self._writers.values():
                writer.transport.abort()

    async def _carry(self, client: Client, init: api.PortForwardInit, ports: tuple[Ports, ...]) -> None:
        """Listen once the server is ready, then hand out what it sends."""
        answers = client.stream(api.stream, Ask(init=init), self._said())
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(aclosing(answers))
            async for answer in answers:
                if answer.ready is not None:
                    for pair in ports:
                        await stack.enter_async_context(await self._listen(pair, answer.ready.instance_id))
                else:
                    await self._take(answer)
        raise Unavailable("the server ended the forwarding")

    async def _listen(self, pair: Ports, instance: str) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(pair.remote, reader, writer)

        try:
            server = await asyncio.start_server(serve, self._address, pair.local, limit=CHUNK)
        except OSError as error:
            raise Unavailable(f"cannot listen on {self._address}:{pair.local}: {error.strerror}") from error
        host, port = server.sockets[0].getsockname()[:2]
        sys.stderr.write(f"{host}:{port} leads to {self._where} port {pair.remote} (now {instance})\n")
        sys.stderr.flush()
        return server

    async def _said(self) -> AsyncGenerator[Ask]:
        while True:
            yield await self._asks.get()

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection here: what it says goes to the server, in order."""
        number = next(self._numbers)
        writer.transport.set_write_buffer_limits(high=WINDOW)
        self._writers[number] = writer
        await self._asks.put(Ask(open=api.PortForwardOpen(conn_id=number, remote_port=port)))
        try:
            while data := await reader.read(CHUNK):
                await self._asks.put(Ask(data=api.PortForwardData(conn_id=number, payload=data)))
        except OSError:
            self._writers.pop(number, None)
        end = Ask(data=api.PortForwardData(conn_id=number))
        cut = Ask(close=api.PortForwardClose(conn_id=number))
        await self._asks.put(end if number in self._writers else cut)

    async def _take(self, answer: Answer) -> None:
        if answer.data is not None:
            await self._write(answer.data)
        elif answer.close is not None:
            writer = self._writers.pop(answer.close.conn_id, None)
            if answer.close.error:
                sys.stderr.write(f"connection {answer.close.conn_id}: {answer.close.error}\n")
            if writer:
                writer.transport.abort() if answer.close.error else writer.close()

    async def _write(self, data: api.PortForwardData) -> None:
        writer = self._writers.get(data.conn_id)
        if writer is None:  # it has left
            return
        writer.write(data.payload)
        try:
            async with asyncio.timeout(STALL):
                await writer.drain()
        except (OSError, TimeoutError):
            # Its own task tells the server: whoever takes answers must not wait to ask.
            self._writers.pop(data.conn_id, None)
            writer.transport.abort()
