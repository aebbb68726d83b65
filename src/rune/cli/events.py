"""`rune events`: derived from the operation table, and `tail`, which shows events as they come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from rune.api import OPERATIONS, wirejson
from rune.api.security import events as api
from rune.api.security.words import MOST_PAGE
from rune.cli import derive, options, output
from rune.cli.connect import connected
from rune.cli.state import State
from rune.cli.table import clean, padded
from rune.errors import Unavailable

if TYPE_CHECKING:
    from rune.client.client import Client

WIDTHS: Final = (19, 20, 16, 7, 4, 20)
"""Columns of lines that come one by one keep these widths; longer texts run over."""
HEADINGS: Final = ("TIME", "AGENT", "TYPE", "VERDICT", "RISK", "THREAT", "TOOL")

events = click.Group("events", help="Security events, and figures over them.", no_args_is_help=True)
derive.attach(events, OPERATIONS, "events")


@events.command(epilog="Examples: rune events tail; rune events tail --agent-id mail-bot --blocked -o json")
@click.option("--agent-id", default="", metavar="ID", help="Only events of this agent.")
@click.option("--event-type", default="", metavar="TYPE", help="Only events of this type, such as scan.")
@click.option("--threat-type", default="", metavar="TYPE", help="Only events with this threat.")
@click.option("--blocked/--no-blocked", default=None, help="Only what was blocked, or only what was not.")
@click.option(
    "-n", "--lines", "before", type=click.IntRange(0, MOST_PAGE), default=10, show_default=True,
    help="Begin with so many that are there.",
)  # fmt: skip
@options.output("table", "json")
@click.pass_obj
def tail(state: State, before: int, output: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Show events as they come in, each once; a broken connection is taken up again where it broke."""
    request = api.TailEventsRequest(**given)
    connected(state, lambda client: _show(client, request, before=before, format=output))


async def _show(client: Client, request: api.TailEventsRequest, *, before: int, format: str) -> None:
    if format == "table":
        click.echo(_line(HEADINGS))
    async with aclosing(followed(client, request, before=before)) as found:
        async for event in found:
            click.echo(_row(event) if format == "table" else output.as_json(wirejson.to_plain(event)))


async def followed(
    client: Client, request: api.TailEventsRequest, *, before: int
) -> AsyncGenerator[api.SecurityEvent]:
    """The newest events that are there, oldest first, then every event, over as many connections as it takes.

    Raises Unavailable when the server stays away, and OutOfRange when it has dropped events meanwhile.
    """
    from rune.client.watch import Patience  # noqa: PLC0415 - other commands do without

    at, patience = _Place(client, request, before), Patience()
    while True:
        try:
            async with aclosing(at.events()) as found:
                async for event in found:
                    patience.reset()
                    yield event
        except Unavailable as error:
            patience.check(error)
        await asyncio.sleep(patience.pause())


class _Place:
    """Up to where events were shown."""

    def __init__(self, client: Client, request: api.TailEventsRequest, before: int) -> None:
        self._client, self._request, self._before = client, request, before
        self._shown: set[str] = set()

    async def events(self) -> AsyncGenerator[api.SecurityEvent]:
        """Events that were not shown before, over one connection."""
        async with aclosing(self._client.stream(api.tail, self._request)) as answers:
            if (
                not self._request.resume
            ):  # what is there is asked for once the stream has begun: none is missed
                begun = await anext(answers)
                for event in await self._newest():
                    yield event
                self._go_on(begun)
            async for answer in answers:
                self._go_on(answer)
                for event in self._news([answer.event] if answer.event else []):
                    yield event

    def _go_on(self, answer: api.TailEventsResponse) -> None:
        self._request = msgspec.structs.replace(self._request, resume=answer.revision)

    def _news(self, events: list[api.SecurityEvent]) -> list[api.SecurityEvent]:
        return [event for event in events if event.event_id not in self._shown]

    async def _newest(self) -> list[api.SecurityEvent]:
        found: list[api.SecurityEvent] = []
        wanted = self._request
        asked = api.ListSecurityEventsRequest(
            agent_id=wanted.agent_id,
            event_type=wanted.event_type,
            threat_type=wanted.threat_type,
            blocked=wanted.blocked,
        )
        cursor: str | None = ""
        while len(found) < self._before and cursor is not None:
            page = msgspec.structs.replace(asked, limit=self._before - len(found), cursor=cursor)
            answer = await self._client.call(api.list_, page)
            found += answer.events
            cursor = answer.next_cursor
        fresh = self._news(found[::-1])
        self._shown |= {event.event_id for event in fresh}
        return fresh


def _row(event: api.SecurityEvent) -> str:
    scan = event.scan_result
    return _line((
        event.timestamp.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        event.agent_id,
        event.event_type,
        event.verdict,
        f"{scan.risk_score:.2f}" if scan else "",
        (scan.threat_type if scan else "") or "",
        event.tool.name if event.tool else "",
    ))  # fmt: skip


def _line(cells: tuple[str, ...]) -> str:
    sized = [padded(clean(cell), size) for cell, size in zip(cells, (*WIDTHS, 0), strict=True)]
    return "   ".join(sized).rstrip()
