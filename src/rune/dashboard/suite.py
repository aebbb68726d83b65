"""Trials of a policy before it is saved: one action, or the events that were recorded. Nothing is stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from markupsafe import Markup

from rune.api.security import events as api
from rune.api.security import policies
from rune.api.security.events import SecurityEvent
from rune.dashboard.ask import Action, Ask, Done, Page
from rune.dashboard.html import el, join
from rune.dashboard.parts import badge, empty, facts, row, table
from rune.errors import InvalidArgument
from rune.policy.action import Direction
from rune.policy.replay import Replay, Row

P = ParamSpec("P")
T = TypeVar("T")

DIRECTIONS: Final[Mapping[Direction, str]] = {
    "tool_call": "a tool is called",
    "tool_result": "a tool answers",
    "input": "text comes in",
    "output": "text goes out",
}
MOST: Final = 2000
"""Events that one replay judges, the newest; the CLI takes more."""
AT_ONCE: Final = 200
SHOWN: Final = 50
SECONDS: Final = 10.0
LARGEST: Final = 256 << 10


async def try_one(ask: Ask) -> Done:
    """What the text would decide about one action."""
    from rune.policy import suites  # noqa: PLC0415 - brings the scanners along, which runed has no other use for

    content = ask.text("text")
    given = {
        "name": "trial",
        "expect": "allow",
        "direction": ask.given("direction"),
        "tool": ask.given("tool"),
    }
    arguments = _arguments(content) if given["direction"] == "tool_call" else None
    try:
        case = msgspec.convert({**given, "text": content, "arguments": arguments}, suites.Case)
    except msgspec.ValidationError as error:
        raise InvalidArgument(str(error)) from error
    await ask.call(policies.validate, policies.ValidatePolicyRequest(yaml_content=_yaml(ask)))  # counted
    found = await _apart(suites.decide, _yaml(ask), case)
    shown = facts((
        ("Decision", badge(found.action)),
        ("Rule", found.rule or "none"),
        ("Why", found.explanation or "no rule speaks of it"),
    ))  # fmt: skip
    return Done(said=f"Decided: {found.action}.", shown=shown)


def _arguments(content: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """The arguments of a tool; text that is no JSON is one argument."""
    if not content.strip():
        return None
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {"text": content}


async def replay(ask: Ask) -> Done:
    """What the text would have decided about recorded events."""
    text, hours = _yaml(ask), min(max(ask.number("hours", 24), 1), 24 * 30)
    events = await _recorded(ask, hours)
    rows = await _apart(_judged, text, events)
    changed = [each for each in rows if each.now != each.then]
    counts = Counter(each.now for each in rows)
    said = f"{len(events)} events judged; {len(changed)} would be decided otherwise."
    return Done(said=said, shown=join(el("p", said), _counts(counts), _changed(changed)))


def _judged(text: str, events: Sequence[SecurityEvent]) -> list[Row]:
    return Replay(text).rows(sorted(events, key=lambda event: event.timestamp))


async def _recorded(ask: Ask, hours: int) -> list[SecurityEvent]:
    found: list[SecurityEvent] = []
    cursor, since = "", ask.now - timedelta(hours=hours)
    while len(found) < MOST:
        asked = api.ListSecurityEventsRequest(
            agent_id=ask.given("agent"), since=since, limit=AT_ONCE, cursor=cursor
        )
        answer = await ask.call(api.list_, asked)
        found += answer.events
        if not answer.next_cursor:
            break
        cursor = answer.next_cursor
    return found


def _counts(counts: Counter[str]) -> Markup:
    return table(
        ("Decision", "Events"),
        (row(word, badge(word), count) for word, count in counts.items()),
        label="Decisions",
    )


def _changed(changed: Sequence[Row]) -> Markup:
    if not changed:
        return empty("Nothing changes", "The events were decided as this policy would decide them.")
    rows = (
        row(each.event_id, each.event_id, each.agent_id, badge(each.then), badge(each.now), each.rule)
        for each in changed[:SHOWN]
    )
    return table(("Event", "Agent", "Then", "Now", "Rule"), rows, label="Decided otherwise")


def _yaml(ask: Ask) -> str:
    text = ask.text("yaml")
    if not 0 < len(text) <= LARGEST:
        raise InvalidArgument(f"a policy has 1 to {LARGEST} characters")
    return text


async def _apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, so that everybody else's calls go on; given up after a while."""
    try:
        async with asyncio.timeout(SECONDS):
            return await asyncio.to_thread(work, *args, **kwargs)
    except TimeoutError as error:
        raise InvalidArgument(f"this took longer than {SECONDS:.0f} s: narrow it down") from error


PAGES: Final[tuple[Page, ...]] = ()
ACTIONS: Final = (
    Action(path="/policies/{id}/try", act=try_one),
    Action(path="/policies/{id}/replay", act=replay),
)
