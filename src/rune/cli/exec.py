"""`rune exec`: a command inside an instance, with its input, its terminal, its signals and its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from rune.api.orchestrator import exec as api
from rune.cli import options
from rune.cli.connect import connected
from rune.cli.state import State
from rune.cli.targets import target
from rune.cli.terminal import Keyboard, raw, size
from rune.errors import RuneError, Unavailable

if TYPE_CHECKING:
    from rune.client.client import Client

TIMED_OUT = 124
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Options(click.Command):
    """A command whose own options stand before its arguments: all after TARGET belongs to the inner one."""

    allow_interspersed_args = False


@click.command(
    cls=Options,
    epilog="Examples: rune exec api -- ls -l /; rune exec api sh; tar c . | rune exec api tar x; "
    "rune exec --timeout 30s api-instance-1f2e3d4c ./check",
)
@options.namespace
@click.option("-t/-T", "--tty/--no-tty", default=None, help="Give it a terminal, or not. [when there is one]")
@click.option("--env", type=options.PAIR, multiple=True, help="A variable of its environment; repeatable.")
@click.option("--workdir", default="", metavar="PATH", help="Where it starts.")
@click.option("--timeout", type=options.DURATION, help="End it after so long; the exit code is 124 then.")
@click.argument("target", metavar="TARGET")
@click.argument("command", metavar="COMMAND [ARG]...", nargs=-1, type=click.UNPROCESSED, required=True)
@click.pass_obj
def exec_(state: State, target: str, command: tuple[str, ...], **given: Any) -> int:  # noqa: ANN401 - click's way
    """Run COMMAND inside TARGET, a service's first ready instance or the instance of that id."""
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("say which command to run")
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    tty = has_terminal if given["tty"] is None else given["tty"]
    where = _target(target)
    init = api.ExecInitRequest(
        service_name=where.name if where.kind == "service" else None,
        instance_id=where.name if where.kind == "instance" else None,
        namespace=state.namespace(given["namespace"]),
        command=list(words),
        env=dict(given["env"]),
        working_dir=given["workdir"],
        tty=tty,
        terminal_size=size(sys.stdout) if tty and has_terminal else None,
    )
    with raw(sys.stdin, when=tty and has_terminal):
        return connected(state, lambda client: _run(client, init, timeout=given["timeout"]))


_target = target


async def _run(client: Client, init: api.ExecInitRequest, *, timeout: float | None) -> int:
    keyboard = Keyboard(sys.stdin)
    loop = asyncio.get_running_loop()
    numbers = [number for number in PASSED_ON if not (init.tty and number is signal.SIGINT)]
    for number in numbers:
        loop.add_signal_handler(number, keyboard.put, _signal(number))
    if init.tty:
        loop.add_signal_handler(signal.SIGWINCH, keyboard.put, _resize)
    try:
        async with asyncio.timeout(timeout):
            return await _copy(client, init, keyboard)
    except TimeoutError:
        click.echo(f"the command was ended after {timeout:g} s", err=True)
        return TIMED_OUT
    finally:
        for number in (*numbers, signal.SIGWINCH):
            loop.remove_signal_handler(number)


async def _copy(client: Client, init: api.ExecInitRequest, keyboard: Keyboard) -> int:
    first = api.ExecRequest(init=init)
    code: int | None = None
    async with aclosing(client.stream(api.stream, first, _requests(keyboard))) as answers:
        async for answer in answers:
            if answer.stdout is not None:
                _write(1, answer.stdout)
            elif answer.stderr is not None:
                _write(2, answer.stderr)
            elif answer.status is not None and answer.status.code:
                raise RuneError(answer.status.message)
            elif answer.exit is not None:
                code = answer.exit.code
    if code is None:
        raise Unavailable("the connection ended before the command did")
    return code


async def _requests(keyboard: Keyboard) -> AsyncGenerator[api.ExecRequest]:
    async for item in keyboard.items():
        if isinstance(item, bytes):
            yield api.ExecRequest(stdin=item)
        elif item is _resize:
            yield api.ExecRequest(resize=size(sys.stdout))
        else:
            yield api.ExecRequest(signal=api.Signal(name=str(item)))


def _signal(number: signal.Signals) -> str:
    return number.name


_resize = object()


def _write(descriptor: int, data: bytes) -> None:
    """All of it, to the real stdout or stderr of this process."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    stream.flush()
    try:
        target_descriptor = stream.fileno()
    except (OSError, ValueError):
        stream.write(data.decode(errors="replace"))
        return
    view = memoryview(data)
    while view:
        view = view[os.write(target_descriptor, view) :]
