"""A real runed for tests: a child process on a folder of the test's own, and a client of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import instances, logs, services
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import ProcessSpec
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.errors import Unavailable

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""


class Runed:
    """One runed, and the words that tests use of it. It can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = ""
        self.api_key = ""
        self.grpc = ""
        self.http = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None

    async def start(self, *flags: str) -> None:
        """Start it and wait until it is ready; raises Unavailable with its log when it ends instead."""
        reader, writer = os.pipe()
        command = [
            sys.executable,
            "-m",
            "rune.daemon",
            "--data-dir",
            str(self.folder),
            "--ready-fd",
            str(writer),
        ]
        addresses = ["--grpc-addr", self.grpc or "127.0.0.1:0", "--http-addr", self.http or "127.0.0.1:0"]
        log = self.folder.with_suffix(".log").open("ab")
        with log:
            self._process = subprocess.Popen([*command, *addresses, *flags], stderr=log, pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as ready:
            line = await asyncio.to_thread(ready.readline)
        if not line:
            await asyncio.to_thread(self._process.wait, PATIENCE)
            self._process = None
            raise Unavailable(self.folder.with_suffix(".log").read_text(encoding="utf-8")[-2000:])
        told = json.loads(line)
        self.grpc, self.http = told["grpc"], told["http"]
        self.token = told["token"] or self.token
        self.api_key = told["api_key"] or self.api_key
        self._client = Client(GrpcTransport(self.grpc, token=self.token))

    def kill(self) -> None:
        """Kill it where it stands, whatever is on its way; `end` takes leave of what is left."""
        assert self._process
        self._process.kill()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; returns its exit code."""
        if self._client:
            await self._client.__aexit__()
            self._client = None
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = await asyncio.to_thread(self._process.wait, PATIENCE)
        self._process = None
        return code

    async def signal(self, number: signal.Signals, *, until: str) -> None:
        """Send it a signal, and wait until its log says these words once more than before."""
        log = self.folder.with_suffix(".log")
        before = log.read_text(encoding="utf-8").count(until)
        assert self._process
        self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            while log.read_text(encoding="utf-8").count(until) == before:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.02)  # noqa: TID251 - as above

    async def trusting(self, client: Client) -> None:
        """From now on, call it with this client."""
        if self._client:
            await self._client.__aexit__()
        self._client = client

    @property
    def is_up(self) -> bool:
        """It was started and not ended."""
        return self._process is not None

    @property
    def processor_seconds(self) -> float:
        """What it has used of the processors so far."""
        assert self._process
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system

    @property
    def client(self) -> Client:
        """A client with the root token."""
        assert self._client
        return self._client

    async def call(self, operation: Operation[In, Out], ask: In) -> Out:
        """One call."""
        return await self.client.call(operation, ask)

    async def cast(self, name: str, command: list[str], **fields: Any) -> None:
        """Create a service."""
        process = ProcessSpec(command=command[0], args=command[1:])
        await self.create(name, **{"process": process, **fields})

    async def create(self, name: str, **fields: Any) -> None:
        """Create a service of one copy, unless the fields say otherwise."""
        given: dict[str, Any] = {"scale": 1, **fields}
        await self.call(services.create, services.CreateServiceRequest(service=Service(name=name, **given)))

    async def update(self, name: str, command: list[str], **fields: Any) -> None:
        """Change a service."""
        process = ProcessSpec(command=command[0], args=command[1:])
        given: dict[str, Any] = {"scale": 1, "process": process, **fields}
        ask = services.UpdateServiceRequest(service=Service(name=name, **given))
        await self.call(services.update, ask)

    async def service(self, name: str) -> Service:
        """A service with its copies."""
        answer = await self.call(services.get, services.GetServiceRequest(name=name))
        assert answer.service
        return answer.service

    async def copies(self, name: str) -> list[Instance]:
        """The copies of a service, by id."""
        ask = instances.ListInstancesRequest(service_name=name)
        return (await self.call(instances.list_, ask)).instances

    async def until(self, name: str, condition: Callable[[Service], bool]) -> Service:
        """Watch a service until the condition holds of it and its copies."""
        ask = services.WatchServicesRequest(field_selector={"name": name})
        try:
            async with (
                asyncio.timeout(PATIENCE),
                aclosing(self.client.stream(services.watch, ask)) as changes,
            ):
                async for _ in changes:
                    service = await self.service(name)
                    if condition(service):
                        return service
        except TimeoutError:
            raise AssertionError(
                f"after {PATIENCE:g} s it is still {told(await self.service(name))}"
            ) from None
        raise AssertionError("the watch ended")

    async def until_there(self, name: str) -> None:
        """Wait until somebody has created it."""
        ask = services.WatchServicesRequest(field_selector={"name": name})
        async with asyncio.timeout(PATIENCE), aclosing(self.client.stream(services.watch, ask)) as changes:
            async for change in changes:
                if change.service:
                    return

    async def until_running(self, name: str) -> Service:
        """Wait until it runs."""
        return await self.until(name, lambda service: service.status is ServiceStatus.RUNNING)

    async def lines(self, name: str, count: int) -> list[str]:
        """The first lines of a service, once there are so many."""
        found: list[str] = []
        ask = logs.LogRequest(resource_target=name, follow=True, tail=-1)
        async with asyncio.timeout(PATIENCE), aclosing(self.client.stream(logs.get, ask)) as lines:
            async for line in lines:
                found.append(line.content)
                if len(found) >= count:
                    break
        return found


def told(service: Service) -> str:
    """What a service and its copies say of themselves, for the message of a test that waited in vain."""
    copies = [f"{copy.id}: {copy.status.name} {copy.status_message}" for copy in service.instances]
    return "; ".join([f"{service.status.name} {service.status_message}", *copies])


@asynccontextmanager
async def runed(folder: Path, *flags: str) -> AsyncGenerator[Runed]:
    """A server in dev mode, so that its workloads are gone with it at the end."""
    server = Runed(folder)
    await server.start("--dev", *flags)
    try:
        yield server
    finally:
        if not server.is_up:  # a test killed it: what it left running must go
            await server.start("--dev", *flags)
        await server.end()
