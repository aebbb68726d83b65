"""The switchboard: drains copies, keeps doors that stay, and ends with everything closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rune.orchestrator.traffic.exposure import Place
from rune.orchestrator.traffic.relay import Bounds
from rune.orchestrator.traffic.switchboard import Switchboard, Wanted
from unit.orchestrator.traffic.street import PATIENCE, Copy, free_port

WEB = ("default", "web")


class Exchange:
    """A switchboard that runs, with a service of one port and its copies."""

    def __init__(self) -> None:
        self.board = Switchboard(Bounds(connect=1.0, wait=0.05))
        self.place = Place("127.0.0.1", free_port())
        self.copies: list[Copy] = []

    async def settle(self, *names: str) -> list[Copy]:
        """Copies that listen, behind the service's door."""
        made = [Copy(name) for name in names]
        self.copies += made
        for copy in made:
            await copy.open()
        self.board.fill(WEB, {80: [copy.endpoint for copy in made]})
        assert self.board.open(WEB, [Wanted(place=self.place, port=80)]) == {}
        return made

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that a copy has answered."""
        reader, writer = await asyncio.open_connection(*self.place)
        writer.write(b"x")
        await reader.readexactly(1)
        return reader, writer


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made, done = Exchange(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.board.run(done.wait()))
        turn = asyncio.Event()
        asyncio.get_running_loop().call_soon(turn.set)
        await turn.wait()
        try:
            yield made
        finally:
            done.set()
            for copy in made.copies:
                await copy.close()


async def test_a_copy_that_is_drained_gets_no_new_connection_and_may_end_the_old(exchange: Exchange) -> None:
    async with asyncio.timeout(PATIENCE):
        (one,) = await exchange.settle("one")
        reader, writer = await exchange.connect()
        draining = asyncio.ensure_future(exchange.board.drain("one", PATIENCE))
        with pytest.raises(ConnectionResetError):
            await exchange.connect()
        assert not draining.done()
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await draining
    assert one.came == 1


async def test_draining_ends_when_its_time_is_up(exchange: Exchange) -> None:
    await exchange.settle("one")
    _, writer = await exchange.connect()
    await exchange.board.drain("one", 0.01)
    writer.transport.abort()


async def test_draining_a_copy_without_connections_takes_no_time(exchange: Exchange) -> None:
    await exchange.settle("one")
    await exchange.board.drain("one", 1000)
    await exchange.board.drain("stranger", 1000)


async def test_a_copy_that_comes_back_gets_connections_again(exchange: Exchange) -> None:
    (one,) = await exchange.settle("one")
    await exchange.board.drain("one", 0.0)
    exchange.board.welcome(["one"])
    _, writer = await exchange.connect()
    assert one.came == 1
    writer.transport.abort()


async def test_a_door_that_stays_wanted_keeps_its_connections(exchange: Exchange) -> None:
    await exchange.settle("one")
    reader, writer = await exchange.connect()
    await exchange.settle("two")
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"
    writer.transport.abort()


async def test_a_service_that_is_gone_is_refused(exchange: Exchange) -> None:
    await exchange.settle("one")
    exchange.board.forget(WEB)
    with pytest.raises(ConnectionRefusedError):
        await exchange.connect()


async def test_why_a_door_is_shut_is_told_and_it_opens_when_it_can(exchange: Exchange) -> None:
    await exchange.settle("one")
    other, wanted = ("default", "other"), [Wanted(place=exchange.place, port=80)]
    exchange.board.fill(other, {80: ()})
    assert exchange.board.open(other, wanted) == {
        exchange.place: f"cannot listen on {exchange.place}: Address already in use"
    }
    exchange.board.forget(WEB)
    assert exchange.board.open(other, wanted) == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])  # noqa: S104 - nothing listens there
async def test_no_door_opens_where_the_server_itself_listens(host: str) -> None:
    own = Place(host, 7861)
    board = Switchboard(own=[own])
    board.fill(WEB, {80: []})
    place = Place("127.0.0.1", 7861)
    refused = board.open(WEB, [Wanted(place=place, port=80)])
    assert refused == {place: f"this server itself listens on {own}"}
    assert not board.has(WEB, place)
