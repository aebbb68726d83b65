"""Doors: connections go to ready copies, bytes go through whole, limits hold."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promises import promise
from rune.errors import Unavailable
from rune.orchestrator.traffic.exposure import Place
from rune.orchestrator.traffic.relay import WINDOW, Bounds
from unit.orchestrator.traffic.street import PATIENCE, Street, opened

pieces = st.lists(st.binary(min_size=1, max_size=200_000), max_size=6)


async def test_a_connection_reaches_a_copy_and_the_answer_comes_back(street: Street) -> None:
    await street.settle("one")
    assert await street.says(b"hello") == b"hello"
    assert (street.counts.passed, street.counts.received, street.counts.sent) == (1, 5, 5)


@promise("traffic.bytes")
@settings(deadline=None, max_examples=25)
@given(st.lists(pieces, min_size=1, max_size=4))
def test_no_byte_is_lost_or_mixed_however_it_is_cut(clients: list[list[bytes]]) -> None:
    async def run() -> None:
        async with opened() as street:
            await street.settle("one", "two")
            answers = await asyncio.gather(*(exchange(street, sent) for sent in clients))
            assert answers == [b"".join(sent) for sent in clients]

    asyncio.run(run())


async def exchange(street: Street, sent: list[bytes]) -> bytes:
    """All that comes back of what is said in pieces, while it is said."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await street.connect()
        reading = asyncio.ensure_future(reader.read())
        for piece in sent:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        try:
            return await reading
        finally:
            writer.close()


async def test_the_end_of_one_direction_leaves_the_other_open(street: Street) -> None:
    (copy,) = await street.settle("one")
    copy.is_mute = True
    async with asyncio.timeout(PATIENCE):
        reader, writer = await street.connect()
        writer.write(b"question")
        writer.write_eof()
        await copy.arrived.wait()
        inner_reader, inner_writer = copy.streams[0]
        assert await inner_reader.read() == b"question"
        inner_writer.write(b"answer after the end")
        inner_writer.write_eof()
        assert await reader.read() == b"answer after the end"
        writer.close()


async def test_a_copy_that_speaks_first_is_heard(street: Street) -> None:
    (copy,) = await street.settle("one")
    copy.is_mute = True
    async with asyncio.timeout(PATIENCE):
        reader, writer = await street.connect()
        await copy.arrived.wait()
        copy.streams[0][1].write(b"220 ready\r\n")
        assert await reader.readline() == b"220 ready\r\n"
        writer.transport.abort()


async def test_connections_go_where_there_are_fewest(street: Street) -> None:
    one, two = await street.settle("one", "two")
    open_ones = [await street.connect() for _ in range(6)]
    for _, writer in open_ones:
        writer.write(b"x")
    for reader, _ in open_ones:
        await reader.readexactly(1)
    assert (one.came, two.came) == (3, 3)
    for _, writer in open_ones:
        writer.transport.abort()


async def test_round_robin_takes_turns_however_busy_they_are(street: Street) -> None:
    one, two = await street.settle("one", "two")
    street.pool.by_turns = True
    for _ in range(4):
        await street.says(b"x")
    assert (one.came, two.came) == (2, 2)


@promise("traffic.retry")
async def test_a_copy_that_refuses_is_passed_over(street: Street) -> None:
    one, two = await street.settle("one", "two")
    one.shut()
    assert [await street.says(b"x") for _ in range(4)] == [b"x"] * 4
    assert two.came == 4
    assert street.counts.retried == 1  # from then on it is asked last
    assert street.counts.failed == 0


async def test_a_connection_waits_for_the_first_copy(street: Street) -> None:
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(street.says(b"patient"))
        await street.settle("late")
    assert asked.result() == b"patient"


async def test_without_a_copy_the_client_sees_a_reset(street: Street) -> None:
    door = street.made(Bounds(wait=0.01))
    door.open()
    with pytest.raises(ConnectionResetError):
        await street.says(b"x", door)
    assert street.counts.failed == 1
    door.close()


async def test_more_connections_than_allowed_are_cut_at_once(street: Street) -> None:
    await street.settle("one")
    door = street.made(Bounds(most=1))
    door.open()
    reader, writer = await street.connect(door)
    writer.write(b"x")
    await reader.readexactly(1)
    with pytest.raises(ConnectionResetError):
        await street.says(b"x", door)
    assert street.counts.refused == 1
    writer.transport.abort()
    door.close()


async def test_all_doors_together_have_no_more_connections_than_allowed(street: Street) -> None:
    """The descriptors that are left are for everything else in this process."""
    await street.settle("one")
    doors = [street.made(Bounds(most=1)) for _ in range(2)]
    for door in doors:
        door.open()
    reader, writer = await street.connect(doors[0])
    writer.write(b"x")
    await reader.readexactly(1)
    with pytest.raises(ConnectionResetError):
        await street.says(b"x", doors[1])
    assert street.counts.refused == 1
    writer.transport.abort()
    for door in doors:
        door.close()


async def test_an_idle_connection_is_cut(street: Street) -> None:
    await street.settle("one")
    door = street.made(Bounds(idle=0.01))
    door.open()
    async with asyncio.timeout(PATIENCE):
        reader, _ = await street.connect(door)
        with pytest.raises(ConnectionResetError):
            await reader.read()
    door.close()


@pytest.mark.parametrize("network, may", [("127.0.0.0/8", True), ("10.0.0.0/8", False), ("::1/128", False)])
async def test_only_allowed_networks_may_connect(street: Street, network: str, may: bool) -> None:
    await street.settle("one")
    street.door.allowed = (ip_network(network),)
    if may:
        assert await street.says(b"x") == b"x"
    else:
        with pytest.raises(ConnectionResetError):
            await street.says(b"x")
    assert street.counts.denied == (0 if may else 1)


async def test_a_reader_that_stops_holds_the_writer_back(street: Street) -> None:
    """Else everything that a copy can say would wait in memory."""
    (copy,) = await street.settle("one")
    copy.is_mute = True
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, tuple(street.door.place))
        async with asyncio.timeout(PATIENCE):
            await copy.arrived.wait()
            writer = copy.streams[0][1]
            total = 64 << 20
            writer.write(bytes(total))
            left = await _standstill(street)
            assert left < WINDOW + (16 << 20)  # the window, and what kernels hold
            got = 0
            while got < total:
                got += len(await loop.sock_recv(client, 1 << 20))
    assert street.counts.sent == total


async def _standstill(street: Street) -> int:
    """What was passed on when no more is: a client that does not read must come to that."""
    seen = -1
    while seen != street.counts.sent:
        seen = street.counts.sent
        for _ in range(200):  # turns of the loop, in each of which bytes would move
            await street.says_nothing()
    return seen


async def test_a_copy_that_dies_resets_its_clients(street: Street) -> None:
    (copy,) = await street.settle("one")
    copy.is_mute = True
    async with asyncio.timeout(PATIENCE):
        reader, _ = await street.connect()
        await copy.arrived.wait()
        copy.kill()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert street.counts.active == 0


async def test_a_place_that_is_taken_is_told_with_the_reason(street: Street) -> None:
    second = street.made()
    second.place = street.door.place
    with pytest.raises(Unavailable, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
        second.open()
    assert not second.is_open


async def test_a_door_that_closes_leaves_its_connections(street: Street) -> None:
    await street.settle("one")
    async with asyncio.timeout(PATIENCE):
        reader, writer = await street.connect()
        writer.write(b"x")
        await reader.readexactly(1)
        street.door.close()
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.transport.abort()
    with pytest.raises(ConnectionRefusedError):
        await street.connect()


async def test_an_ipv6_door_listens_there_alone(street: Street) -> None:
    await street.settle("one")
    door = street.made()
    door.place = Place("::1", 0)
    door.open()
    assert await street.says(b"six", door) == b"six"
    door.close()
