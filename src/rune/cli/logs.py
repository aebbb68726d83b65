"""`rune logs`: what instances wrote, and what they write from now on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from rune.api import wirejson
from rune.api.orchestrator import logs as api
from rune.cli import options, output, table
from rune.cli.connect import connected
from rune.cli.state import State
from rune.cli.targets import target
from rune.errors import Unavailable

if TYPE_CHECKING:
    from rune.client.client import Client

ALL = -1
NOW = "0s"
PAUSE = 1.0
TRIES = 60
"""A followed log whose server is away is taken up again for about a minute."""


@click.command(
    epilog="Examples: rune logs api -f; rune logs api --since 10m -p error; rune logs instance/ID -o raw"
)
@click.argument("target", metavar="TARGET")
@options.namespace
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-t", "--tail", default="", metavar="N", help="The last N lines of each instance, or all. [100]"
)
@click.option("--since", default="", metavar="WHEN", help="RFC 3339, or how long ago: 10m.")
@click.option("--until", default="", metavar="WHEN", help="RFC 3339, or how long ago.")
@click.option("-p", "--filter", "--pattern", "filter_", default="", help="Only lines with this in them.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--prefix/--no-prefix", default=None, help="Begin each line with its instance. [services only]")
@options.output("text", "json", "raw")
@click.pass_obj
def logs(state: State, target: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Read the logs of TARGET: a service (NAME, service/NAME) or an instance (its id, instance/ID).

    Lines keep their colours, and lose what else a terminal would obey; -o raw writes them as they are.
    """
    where = _target(target)
    request = api.LogRequest(
        resource_target=str(where),
        namespace=state.namespace(given["namespace"]),
        follow=given["follow"],
        tail=_tail(given["tail"]),
        since=NOW if given["tail"] == "0" else given["since"],
        until=given["until"],
        filter=given["filter_"],
        show_logs=True,
        together=True,
    )
    prefix = where.kind == "service" if given["prefix"] is None else given["prefix"]
    printer = _Printer(state, given["output"], timestamps=given["timestamps"], prefix=prefix)
    connected(state, lambda client: _copy(client, request, printer))


_target = target


def _tail(text: str) -> int:
    """What the wire says: 0 is the usual number, -1 all."""
    if text in ("", "all"):
        return ALL if text else 0
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - as many digits as a 32-bit number surely has room for
        raise click.UsageError("--tail takes a number of lines, or `all`")
    return int(text) or ALL  # no line of what is there: what is asked for begins now


async def _copy(client: Client, request: api.LogRequest, printer: _Printer) -> None:
    async with aclosing(lines(client, request)) as found:
        async for line in found:
            printer.show(line)


async def lines(client: Client, request: api.LogRequest) -> AsyncGenerator[api.LogResponse]:
    """The lines; a followed log goes on over a broken connection with the first line not yet seen."""
    seen = _Seen()
    while not seen.is_over:
        async with aclosing(_until_broken(client, request, seen)) as found:
            async for line in found:
                yield line
        if seen.last is not None and not seen.is_over:
            await asyncio.sleep(PAUSE)
            seen.again()
            request = structs.replace(request, since=seen.last.isoformat(), tail=ALL)


async def _until_broken(
    client: Client, request: api.LogRequest, seen: _Seen
) -> AsyncGenerator[api.LogResponse]:
    """New lines over one connection; raises Unavailable where there is nothing to go on from."""
    try:
        async with aclosing(client.stream(api.get, request)) as found:
            async for line in seen.new(found):
                yield line
        seen.is_over = True
    except Unavailable:
        if not request.follow or seen.tries >= TRIES or seen.last is None:
            raise


class _Seen:
    """Up to where lines were shown, and how many of that very moment."""

    def __init__(self) -> None:
        self.last: datetime | None = None
        self.tries = 0
        self.is_over = False
        self._shown: dict[str, int] = {}
        self._repeated: dict[str, int] = {}

    def again(self) -> None:
        """The stream begins anew at the last moment: what was shown of it comes again."""
        self.tries += 1
        self._repeated = dict(self._shown)

    async def new(self, answers: AsyncIterator[api.LogResponse]) -> AsyncGenerator[api.LogResponse]:
        """The lines that were not shown before, each by itself."""
        async for answer in answers:
            self.tries = 0
            for line in _apart(answer):
                if self._is_new(line):
                    yield line

    def _is_new(self, line: api.LogResponse) -> bool:
        at = line.timestamp
        if at is None or self.last is None:
            self.last = at or self.last
        elif at < self.last and self._repeated:
            return False
        if at is not None and self.last is not None and at > self.last:
            self.last, self._shown, self._repeated = at, {}, {}
        text = f"{line.instance_id} {line.content}"
        if self._repeated.get(text, 0) > 0:
            self._repeated[text] -= 1
            return False
        self._shown[text] = self._shown.get(text, 0) + 1
        return True


def _apart(answer: api.LogResponse) -> list[api.LogResponse]:
    if not answer.more:
        return [answer]
    return [structs.replace(answer, content=text, more=[]) for text in (answer.content, *answer.more)]


class _Printer:
    """Writes lines as they were asked for."""

    def __init__(self, state: State, format: str, *, timestamps: bool, prefix: bool) -> None:
        self._environ, self._format = state.environ, format
        self._timestamps, self._prefix = timestamps, prefix

    def show(self, line: api.LogResponse) -> None:
        """One line."""
        if self._format == "json":
            plain = wirejson.to_plain(line)
            del plain["status"], plain["more"]
            sys.stdout.write(output.as_json(plain) + "\n")
        else:
            sys.stdout.write(self._text(line) + "\n")
        sys.stdout.flush()

    def _text(self, line: api.LogResponse) -> str:
        if self._format == "raw":
            return line.content
        at = f"{line.timestamp.isoformat()} " if self._timestamps and line.timestamp else ""
        who = f"[{line.instance_id or line.instance_name}] " if self._prefix else ""
        text = table.coloured(line.content)
        if line.log_level == "error":
            text = output.colour(text, "red", environ=self._environ)
        elif line.log_level == "warn":
            text = output.colour(text, "yellow", environ=self._environ)
        return f"{at}{output.colour(who, 'cyan', environ=self._environ) if who else ''}{text}"
