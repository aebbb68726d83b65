"""Handlers of exec: a command inside a running instance, fed and read at the pace of the slower side."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

from rune.api.common import Status
from rune.api.orchestrator import exec as api
from rune.api.orchestrator.exec import ExecInitRequest, ExecRequest, ExecResponse, ExitInfo
from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Store
from rune.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from rune.orchestrator import targets
from rune.orchestrator.copies import copies_of
from rune.orchestrator.feeds import Feeds
from rune.orchestrator.runners.base import Command, HasExec, Session

CHUNK: Final = 32 << 10
"""Bytes of output in one message at most."""
DRAIN: Final = 2.0
"""Seconds without output after which an ended command's output counts as ended too.

Something that it left running may hold it open for ever.
"""
LARGEST_SIZE: Final = 65_535
"""Columns and rows of a terminal at most: more does not fit into the kernel's call."""
SIGNALLED: Final = 128

Item = tuple[str, bytes] | int
"""A piece of output, or the exit code."""


class Exec:
    """What can be done inside instances. `runners` are those that can run commands there."""

    def __init__(self, store: Store, runners: Mapping[str, HasExec]) -> None:
        self._store = store
        self._runners = runners

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.stream)(self.stream)
        dispatcher.handles(api.run)(self.run)

    async def stream(
        self, call: Call, ask: ExecRequest, later: AsyncIterator[ExecRequest]
    ) -> AsyncIterator[ExecResponse]:
        """Run what the first request says, feed it with the others; their end is the end of its input."""
        if ask.init is None:
            raise InvalidArgument("first request must be an init request")
        instance = self._target(call.namespace, ask.init)
        async with aclosing(self._answers(instance, _command(ask.init), later)) as answers:
            async for answer in answers:
                yield answer

    async def run(self, call: Call, ask: api.RunCommandRequest) -> AsyncIterator[ExecResponse]:
        """Run it without input."""
        found = targets.find(self._store, call.namespace, ask.target)
        instance = _running(found) if isinstance(found, Instance) else self._first(found)
        init = ExecInitRequest(command=ask.command, env=ask.env, working_dir=ask.working_dir)
        async with aclosing(self._answers(instance, _command(init), _nothing())) as answers:
            async for answer in answers:
                yield answer

    async def _answers(
        self, instance: Instance, command: Command, requests: AsyncIterator[ExecRequest]
    ) -> AsyncGenerator[ExecResponse]:
        """From the first word to the exit. Whoever stops reading kills the command."""
        runner = self._runners.get(instance.runner)
        if runner is None:
            raise Unimplemented(f"runner {instance.runner!r} of instance {instance.id} cannot run commands")
        session = await runner.exec(instance.id, command)
        try:
            yield ExecResponse(status=Status(message=f"Connected to instance {instance.id}"))
            async with aclosing(_talk(session, requests)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            await session.close()

    def _target(self, namespace: str, init: ExecInitRequest) -> Instance:
        """The instance, which is in the namespace that was authorized."""
        if init.instance_id:
            instance = self._store.find(Instance, namespace, init.instance_id)
            if instance is None:
                raise NotFound(f"instance not found: {init.instance_id}")
            return _running(instance)
        if not init.service_name:
            raise InvalidArgument("invalid exec request: must specify either service_name or instance_id")
        service = self._store.find(Service, namespace, init.service_name)
        if service is None:
            raise NotFound(f"service not found: {namespace}/{init.service_name}")
        return self._first(service)

    def _first(self, service: Service) -> Instance:
        """The first ready instance of a service, or else the first that runs."""
        copies = copies_of(self._store, service.namespace, service.name)
        running = sorted(filter(_is_running, copies), key=lambda item: not item.ready)
        if not running:
            raise NotFound(
                f"no running instances found for service: {service.name} in namespace: {service.namespace}"
            )
        return running[0]


async def _talk(session: Session, requests: AsyncIterator[ExecRequest]) -> AsyncGenerator[ExecResponse]:
    """Feed the command and give out what it writes, until it has ended and said everything."""
    feeds: Feeds[Item] = Feeds()
    exited: ExitInfo | None = None
    try:
        feeds.open("input", _feed(session, requests))
        feeds.open("output", _chunks(session))
        feeds.open("exit", _exit(session))
        while exited is None or "output" in feeds:
            arrived = await feeds.take(DRAIN if exited else None)
            if arrived is None:
                break
            key, item = arrived
            if isinstance(item, int):
                exited = _exit_info(item)
            elif item is not None:
                yield _said(*item)
                feeds.more(key)
    finally:
        await feeds.close()
    yield ExecResponse(exit=exited)


async def _feed(session: Session, requests: AsyncIterator[ExecRequest]) -> AsyncGenerator[Item]:
    """Hand every request to the command; gives nothing out, and ends when they do."""
    async for ask in requests:
        if ask.stdin is not None:
            await session.write(ask.stdin)
        elif ask.resize is not None:
            width, height = ask.resize.width, ask.resize.height
            await session.resize(min(width, LARGEST_SIZE), min(height, LARGEST_SIZE))
        elif ask.signal is not None:
            await session.signal(ask.signal.name)
        else:
            raise InvalidArgument("a request after the first must be stdin, resize or signal")
    await session.end_input()
    return
    yield  # what makes it a feed


async def _chunks(session: Session) -> AsyncGenerator[Item]:
    async for stream, data in session.output():
        for start in range(0, len(data), CHUNK):
            yield stream, data[start : start + CHUNK]


async def _exit(session: Session) -> AsyncGenerator[Item]:
    yield await session.wait()


def _said(stream: str, data: bytes) -> ExecResponse:
    return ExecResponse(stderr=data) if stream == "stderr" else ExecResponse(stdout=data)


def _exit_info(code: int) -> ExitInfo:
    """128 + a signal's number says that the command was killed by it."""
    names = {SIGNALLED + number.value: number.name for number in signal.Signals}
    return ExitInfo(code=code, signaled=code in names, signal=names.get(code, ""))


def _command(init: ExecInitRequest) -> Command:
    if not init.command:
        raise InvalidArgument("invalid exec request: command is required")
    size = init.terminal_size
    width, height = (size.width, size.height) if size else (0, 0)
    return Command(
        command=init.command,
        env=init.env,
        workdir=init.working_dir,
        tty=init.tty,
        width=min(width or 80, LARGEST_SIZE),
        height=min(height or 24, LARGEST_SIZE),
    )


def _is_running(instance: Instance) -> bool:
    """Also one whose readiness probe has not agreed yet."""
    starting = instance.status is InstanceStatus.STARTING and instance.pid > 0
    return starting or instance.status is InstanceStatus.RUNNING


def _running(instance: Instance) -> Instance:
    if not _is_running(instance):
        status = instance.status.value.rpartition("STATUS_")[2].capitalize()
        raise FailedPrecondition(f"instance is not running, status: {status}")
    return instance


async def _nothing() -> AsyncGenerator[ExecRequest]:
    return
    yield ExecRequest()  # what makes it a stream of requests
