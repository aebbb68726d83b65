"""`rune policy replay`: what a policy would have decided about the events that were recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import click

from rune.api.security import events as api
from rune.api.security.events import SecurityEvent
from rune.cli import options, output
from rune.cli.connect import connected
from rune.cli.state import State
from rune.client.client import Client
from rune.core.clock import SystemClock
from rune.core.durations import moment
from rune.errors import InvalidArgument
from rune.policy.replay import Replay, Row

PAGE = 200
MOST_SHOWN = 50


@click.command(epilog="Example: rune policy replay policy.yaml --since 7d")
@click.argument("file")
@click.option("--since", default="24h", show_default=True, help="A time, or how long ago: 90m, 24h, 7d.")
@click.option("--agent", "agent_id", default="", help="Only events of this agent.")
@click.option("--most", default=10_000, show_default=True, help="At most so many events, the newest.")
@options.output("text", "json")
@click.pass_obj
def replay(state: State, file: str, *, since: str, agent_id: str, most: int, output: str) -> None:
    """Judge recorded events by a policy file, before it is switched on."""
    try:
        start = moment(since, SystemClock().now())
        text = Path(file).read_text(encoding="utf-8")
    except (ValueError, OSError) as error:
        raise InvalidArgument(str(error)) from error
    judge = Replay(text)

    async def collect(client: Client) -> list[SecurityEvent]:
        return [event async for event in _recorded(client, agent_id, start, most=most)]

    events = connected(state, collect)
    rows = judge.rows(sorted(events, key=lambda event: event.timestamp))
    _show(rows, len(events), output)


async def _recorded(
    client: Client, agent_id: str, since: datetime, *, most: int
) -> AsyncIterator[SecurityEvent]:
    cursor, left = "", most
    while left > 0:
        ask = api.ListSecurityEventsRequest(
            agent_id=agent_id, since=since, limit=min(PAGE, left), cursor=cursor
        )
        answer = await client.call(api.list_, ask)
        for event in answer.events:
            yield event
        left -= len(answer.events)
        if not answer.next_cursor:
            return
        cursor = answer.next_cursor


def _show(rows: list[Row], events: int, format: str) -> None:
    changed = [row for row in rows if row.now != row.then]
    counts = Counter(row.now for row in rows)
    if format == "json":
        plain = [
            {
                "eventId": row.event_id,
                "agentId": row.agent_id,
                "then": row.then,
                "now": row.now,
                "rule": row.rule,
            }
            for row in changed
        ]
        output.write({"events": events, "decisions": dict(counts), "changed": plain}, "json")
        return
    if changed:
        cells = [[row.event_id, row.agent_id, row.then, row.now, row.rule] for row in changed[:MOST_SHOWN]]
        output.show_table(["EVENT", "AGENT", "THEN", "NOW", "RULE"], cells)
    said = ", ".join(f"{count} {action}" for action, count in sorted(counts.items())) or "none"
    click.echo(f"{events} events: {said}; {len(changed)} would be decided otherwise", err=True)
