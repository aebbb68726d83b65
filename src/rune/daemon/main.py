"""runed: settings, then store, then handlers and reconcilers, then doors."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import uvloop

from rune.core import logs as log_setup
from rune.core import roles, settings
from rune.core.clock import SystemClock
from rune.core.events.sqlite import SqliteEvents
from rune.core.reload import Reload
from rune.core.runefile import Settings
from rune.core.store.sqlite import SqliteStore
from rune.daemon.assembly import KINDS, SEALED, Parts, assemble, event_retention, fleet_of, ground_of
from rune.daemon.collection import Collection
from rune.daemon.doors import Doors, certificates_of, open_
from rune.errors import FailedPrecondition, InvalidArgument, RuneError
from rune.orchestrator import namespaces, sealing
from rune.orchestrator.backup import Backup
from rune.security import organizations

logger = logging.getLogger(__name__)

SWITCH = 0.0005
"""Seconds after which a busy thread lets another one on: those that write need the interpreter often, for
little, and everybody whose batch they write waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What runed is started for."""

    dev: bool = False
    """A scratch server: it makes its own first token, and its workloads end with it."""
    ready_fd: int = -1
    """Where to say, in one line of JSON, that it is ready and where it listens; -1 says it to nobody."""


def main() -> None:
    """The command `runed`."""
    mode, rest = _mode(sys.argv[1:])
    flags = settings.parse(rest)
    again = partial(settings.load, flags.values, os.environ, flags.file, is_root=os.geteuid() == 0)
    try:
        chosen = again()
    except InvalidArgument as error:
        for violation in error.details or (error,):
            print(f"runed: {violation}", file=sys.stderr)  # noqa: T201 - there is no log yet
        sys.exit(error.codes.exit)
    log_setup.configure(sys.stderr, level=chosen.server.log_level, format=chosen.server.log_format)
    failed: RuneError | None = None
    try:
        uvloop.run(serve(chosen, mode, again))
    except* RuneError as errors:
        failed = first(errors)
    if failed is not None:
        logger.critical("runed cannot run", extra={"reason": failed.message})
        sys.exit(failed.codes.exit)


def first(errors: BaseExceptionGroup[RuneError]) -> RuneError:
    """What went wrong first, of what ended the groups of tasks that runed is made of."""
    inner = errors.exceptions[0]
    return first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def serve(chosen: Settings, mode: Mode, again: Callable[[], Settings]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads `again` what can be.

    Raises RuneError when something that it needs is not to be had.
    """
    stop, reload, clock, loop = asyncio.Event(), Reload(), SystemClock(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reload.add("log level", lambda: log_setup.set_level(again().server.log_level))
    certificates = certificates_of(chosen, clock, reload)
    loop.add_signal_handler(signal.SIGHUP, reload.run)
    data = chosen.server.data_dir
    async with (
        SqliteStore(data / "state.db", KINDS, history=chosen.storage.history) as store,
        SqliteEvents(data / "events.db", event_retention(chosen)) as events,
    ):
        for seed in (roles.seed, organizations.seed):
            await seed(store, clock)
        await namespaces.seed(store, clock=clock)
        fleet = fleet_of(chosen, clock)
        sealed = await sealing.unlock(store, chosen, os.environ, sealed=SEALED, clock=clock)
        ground = ground_of(store, chosen, fleet=fleet, sealed=sealed)
        parts = assemble(ground, events, chosen, vault=sealed.vault, clock=clock)
        fleet.on_turn(parts.orchestrator.look_at_runner)
        reload.add("registries", lambda: sealed.registries.configure(again().registries))
        Backup(store, data).register(parts.dispatcher)
        await parts.audit.begin()
        async with fleet.running(is_scratch=mode.dev), asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in parts.work()]
            background += [tasks.create_task(certificates.watch())] if certificates else []
            await parts.orchestrator.opened()
            async with open_(
                parts,
                chosen,
                stop=stop,
                certificates=certificates,
                reflection=mode.dev or chosen.server.reflection,
            ) as doors:
                _settle_in()
                await _announce(doors, parts, str(data), mode=mode)
                await stop.wait()
                logger.info("stopping")
                parts.security.release()
            for task in background:
                task.cancel()
            await parts.leave()


def _settle_in() -> None:
    """Tell the interpreter what it now is: a server with many short-lived objects and threads that write."""
    Collection(SystemClock()).begin()
    sys.setswitchinterval(SWITCH)


async def _announce(doors: Doors, parts: Parts, data: str, *, mode: Mode) -> None:
    """Say that everything is up: in the log, and to whoever started us."""
    logger.info("ready", extra={"grpc": doors.grpc, "http": doors.http, "data_dir": data, "pid": os.getpid()})
    token = api_key = ""
    if mode.dev:
        with suppress(FailedPrecondition):  # the folder had a server before: its token is known to its owner
            _, token = await parts.rights.bootstrap()
        api_key = await parts.security.first_key()
    if mode.ready_fd >= 0:
        told = {
            "grpc": doors.grpc, "http": doors.http, "token": token, "api_key": api_key, "data_dir": data,
            "pid": os.getpid(),
        }  # fmt: skip
        with os.fdopen(mode.ready_fd, "w", encoding="utf-8") as ready:
            ready.write(json.dumps(told) + "\n")


def _mode(argv: Sequence[str]) -> tuple[Mode, list[str]]:
    """What this start is for, and the arguments that are settings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dev", action="store_true")
    parser.add_argument("--ready-fd", type=int, default=-1)
    known, rest = parser.parse_known_args(argv)
    return Mode(dev=known.dev, ready_fd=known.ready_fd), rest
