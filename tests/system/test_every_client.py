"""Stubs made from `api/rune.proto`, curl, the CLI and an MCP client do the same with every kind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import machine
from promises import promise
from runed import Runed, runed
from system.clients.everybody import Missing, Somebody, everybody
from system.clients.kinds import KINDS, Json, Kind

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


async def until_gone(somebody: Somebody, kind: Kind) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await somebody.get(kind)
            except Missing:
                return


def essence(kind: Kind, read: Json) -> tuple[object, ...]:
    """What everybody must see alike."""
    return read["name"], read.get(kind.seen) or None  # protobuf leaves out what is empty


async def life(who: Somebody, all_: dict[str, Somebody], kind: Kind) -> None:
    """One makes, changes and deletes it; all the others see every step."""
    await who.create(kind, kind.example)
    made = await who.get(kind)
    for other in all_.values():
        assert essence(kind, await other.get(kind)) == essence(kind, made)
        assert kind.name in [item["name"] for item in await other.list(kind)]
    assert essence(kind, await who.watch(kind)) == essence(kind, made)
    if kind.change:
        await who.update(kind, kind.changed(await who.get(kind)))
        changed = await who.get(kind)
        assert essence(kind, changed) != essence(kind, made)
        for other in all_.values():
            assert essence(kind, await other.get(kind)) == essence(kind, changed)
    await who.delete(kind)
    await until_gone(who, kind)
    for other in all_.values():
        with pytest.raises(Missing):
            await other.get(kind)


@pytest.mark.skipif(bool(machine.missing("curl")), reason="needs curl")
@promise("doors.numbers", "rest.get", "rest.list", "rest.create", "rest.update", "rest.delete")
@pytest.mark.parametrize("kind", KINDS, ids=[kind.noun for kind in KINDS])
async def test_every_client_gives_every_kind_its_whole_life(kind: Kind, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with runed(tmp_path / "data") as server:
        await check(server, home, kind)


async def check(server: Runed, home: Path, kind: Kind) -> None:
    async with everybody(server, home) as clients:
        for who in clients.values():
            await life(who, clients, kind)
