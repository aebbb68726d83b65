"""Who notices that something is lost: writers that know what was acknowledged, readers of counted lines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx

from rune.api.orchestrator import configmaps, logs
from rune.api.orchestrator.configmaps import Configmap
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.errors import AlreadyExists, RuneError
from runed import PATIENCE, Runed
from secured import event

KEYS = 8
PACE = 0.02
"""Seconds between the writes of one writer, which must not be a load of its own."""
BATCH = 5

COUNTED = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.05; done"
"""What a workload does whose every line is counted."""

LOST = re.compile(r"\[rune\] lines lost here .*: (\d+) ")


class Writers:
    """Two at work on configmaps and one that sends events; refusals are counted and got over."""

    def __init__(self, server: Runed) -> None:
        self.server = server
        self.acknowledged = 0
        self.refused = 0
        self.reason = ""
        """Of the last refusal."""
        self.padding = 0
        """Characters of each value besides its number."""
        self._may = asyncio.Event()
        self._told = asyncio.Condition()
        self._kept: dict[str, int] = {}
        self._tried: dict[str, int] = {}
        self._batches = 0
        self._turns = 0
        """How often what kept them from writing was over: a write from before may fail after."""

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """They write from here to the end of the block."""
        self._may.set()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._change(number)) for number in range(2)]
            tasks.append(group.create_task(self._send()))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def go_on(self) -> None:
        """What kept them from writing is over."""
        self._turns += 1
        self._may.set()

    async def until(self, *, acknowledged: int = 0, refused: int = 0) -> None:
        """Wait until so many more were acknowledged and refused."""
        wanted = (self.acknowledged + acknowledged, self.refused + refused)
        try:
            async with asyncio.timeout(PATIENCE), self._told:
                await self._told.wait_for(
                    lambda: self.acknowledged >= wanted[0] and self.refused >= wanted[1]
                )
        except TimeoutError:
            raise AssertionError(f"writers wait in vain; refused last: {self.reason or 'nothing'}") from None

    async def losses(self) -> list[str]:
        """Acknowledged writes that are not found again, and events that are there twice or not at all."""
        found = await self.server.call(configmaps.list_, configmaps.ListConfigmapsRequest())
        there = {item.name: int(item.data["n"]) for item in found.configmaps}
        lost = [
            f"{name}: {there.get(name)} of {kept} to {self._tried[name]}"
            for name, kept in self._kept.items()
            if not kept <= there.get(name, 0) <= self._tried[name]
        ]
        sent = self._batches
        count = await self._events()
        if not sent * BATCH <= count <= (self._batches + 1) * BATCH:
            lost.append(f"events: {count} of {sent * BATCH}")
        return lost

    async def _change(self, number: int) -> None:
        step = 0
        while True:
            await self._may.wait()
            async with Client(GrpcTransport(self.server.grpc, token=self.server.token)) as client:
                while self._may.is_set():
                    step += 1
                    name = f"writer-{number}-{step % KEYS}"
                    self._tried[name] = step
                    data = {"n": str(step), "padding": "x" * self.padding}
                    write = _put(client, Configmap(name=name, data=data), is_new=name not in self._kept)
                    if await self._told_of(write):
                        self._kept[name] = step

    async def _send(self) -> None:
        while True:
            await self._may.wait()
            key = {"x-rune-key": self.server.api_key}
            async with httpx.AsyncClient(base_url=f"http://{self.server.http}", headers=key) as http:
                while self._may.is_set():
                    batch = [event("bot", event_id=f"e{self._batches}-{n}") for n in range(BATCH)]
                    if await self._told_of(_post(http, batch)):
                        self._batches += 1

    async def _told_of(self, write: Coroutine[Any, Any, None]) -> bool:
        """Whether the write was acknowledged; everybody waits after one that was not."""
        turn = self._turns
        try:
            await write
        except (RuneError, httpx.HTTPError) as error:
            self.refused += 1
            self.reason = repr(error)
            if turn == self._turns:
                self._may.clear()
            done = False
        else:
            self.acknowledged += 1
            done = True
        async with self._told:
            self._told.notify_all()
        await asyncio.sleep(PACE)  # noqa: TID251 - a pace, nothing waits for it
        return done

    async def _events(self) -> int:
        key = {"x-rune-key": self.server.api_key}
        async with httpx.AsyncClient(base_url=f"http://{self.server.http}", headers=key) as http:
            agents = (await http.get("/v1/agents")).raise_for_status().json()["agents"]
        return sum(agent["eventCount"] for agent in agents)


async def _put(client: Client, value: Configmap, *, is_new: bool) -> None:
    """Write a configmap; one that was written without an acknowledgement may be there already."""
    if is_new:
        with suppress(AlreadyExists):
            await client.call(configmaps.create, configmaps.CreateConfigmapRequest(configmap=value))
            return
    await client.call(configmaps.update, configmaps.UpdateConfigmapRequest(configmap=value))


async def _post(http: httpx.AsyncClient, batch: list[dict[str, Any]]) -> None:
    (await http.post("/v1/events", json={"events": batch})).raise_for_status()


async def numbers(server: Runed, instance: str) -> list[int]:
    """Of each attempt the last number of its log; raises AssertionError where one is missing untold.

    Lines that a full disk cost are told by the log itself, with their number.
    """
    last: list[int] = [0]
    told = 0
    ask = logs.LogRequest(resource_target=f"instance/{instance}", tail=-1)
    async for line in server.client.stream(logs.get, ask):
        if notice := LOST.match(line.content):
            told += int(notice[1])
            continue
        number = int(line.content.removeprefix("line "))
        if number == 1:
            last.append(1)
        elif number == last[-1] + 1 + told:
            last[-1] = number
        else:
            raise AssertionError(
                f"{instance}: line {number} follows line {last[-1]}, and {told} are told lost"
            )
        told = 0
    return last


async def goes_on(server: Runed, instance: str) -> None:
    """Wait for the next line of an instance, after the last that there is."""
    ask = logs.LogRequest(resource_target=f"instance/{instance}", tail=1, follow=True)
    async with asyncio.timeout(PATIENCE), aclosing(server.client.stream(logs.get, ask)) as lines:
        await anext(lines)
        await anext(lines)
