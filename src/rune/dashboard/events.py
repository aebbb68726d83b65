"""Security events: what guarded agents reported, as it comes in, narrowed by what is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from markupsafe import Markup

from rune.api import wirejson
from rune.api.security import events as api
from rune.api.security.events import SecurityEvent
from rune.dashboard.ask import Action, Ask, Link, Page, Part, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    PAGE,
    badge,
    choice,
    empty,
    facts,
    field,
    filters,
    heading,
    link,
    long_table,
    path,
    row,
    section,
    text,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/events", label="Events", needs=api.list_),)
COLUMNS: Final = ("Time", "Agent", "Type", "Tool", "Threat", "Risk", "Verdict", "Event")
WORDS: Final = ("scan", "tool_call", "tool_result", "policy_violation", "session", "custom")
TYPES: Final = {"": "Any type", **{word: word.replace("_", " ") for word in WORDS}}
VERDICTS: Final = {"": "Any verdict", "yes": "Blocked", "no": "Not blocked"}
SPANS: Final = {"": "Any time", "1": "Last hour", "24": "Last day", "168": "Last week"}


async def show(ask: Ask) -> Screen:
    """The newest, and older ones as the table is scrolled."""
    asked = ask.query
    narrow = filters(
        "/events",
        field("agent", "Agent", value=asked.get("agent", ""), maxlength=128, type="search"),
        choice("type", "Type", TYPES, asked.get("type", "")),
        field("threat", "Threat", value=asked.get("threat", ""), maxlength=128, type="search"),
        choice("blocked", "Verdict", VERDICTS, asked.get("blocked", "")),
        choice("hours", "When", SPANS, asked.get("hours", "")),
    )
    part = await rows(ask)
    listing = long_table(ask, COLUMNS, part, label="Events") if part.rows else _nothing()
    return Screen(title="Events", body=(heading("Events"), narrow, listing))


def _nothing() -> Markup:
    return empty(
        "No events",
        "Nothing was reported that fits. Guarded agents report every scan, tool call and policy decision: "
        "never the text, only what was found in it.",
        "rune events list",
    )


async def rows(ask: Ask) -> Part:
    """Some of them."""
    asked = ask.query
    blocked = {"yes": True, "no": False}.get(asked.get("blocked", ""))
    found = await ask.call(
        api.list_,
        api.ListSecurityEventsRequest(
            agent_id=asked.get("agent", ""),
            event_type=asked.get("type", ""),
            threat_type=asked.get("threat", ""),
            blocked=blocked,
            since=_since(asked.get("hours", ""), ask.now),
            limit=PAGE,
            cursor=asked.get("cursor", ""),
        ),
    )
    return Part(rows=[_row(each) for each in found.events], cursor=found.next_cursor or "")


def _since(hours: str, now: datetime) -> datetime | None:
    return now - timedelta(hours=int(hours)) if hours in SPANS and hours else None


def _row(event: SecurityEvent) -> Markup:
    at, scan = path("events", event.event_id), event.scan_result
    return row(
        event.event_id,
        when(event.timestamp),
        link(path("agents", event.agent_id), event.agent_id),
        event.event_type.replace("_", " "),
        event.tool.name if event.tool else "",
        (scan.threat_type if scan else None) or "",
        f"{scan.risk_score:.2f}" if scan else "",
        badge(event.verdict),
        link(at, event.event_id),
        to=at,
    )


def timeline(recent: Iterable[SecurityEvent]) -> Markup:
    """Events in a row, newest first."""
    items = (
        el("li", when(event.timestamp), " ", badge(event.verdict), " ", _short(event)) for event in recent
    )
    return el("ol", items, class_="timeline")


def _short(event: SecurityEvent) -> Markup:
    return link(path("events", event.event_id), _said(event))


def _said(event: SecurityEvent) -> str:
    words = [event.event_type.replace("_", " "), event.tool.name if event.tool else ""]
    words.append((event.scan_result.threat_type if event.scan_result else None) or "")
    return " ".join(word for word in words if word)


async def one(ask: Ask) -> Screen:
    """One, whole."""
    event = await ask.call(api.get, api.GetEventRequest(event_id=ask.values["id"]))
    whole = msgspec.json.format(wirejson.encode(event)).decode()
    shown = facts((
        ("Time", when(event.timestamp)),
        ("Agent", link(path("agents", event.agent_id), event.agent_id)),
        ("Type", event.event_type.replace("_", " ")),
        ("Verdict", badge(event.verdict)),
        ("Session", event.session_id or "none"),
        ("Policy", event.policy_result.policy or event.policy_result.rule if event.policy_result else "none"),
    ))  # fmt: skip
    body = (
        heading(event.event_id, back=("/events", "Events")),
        shown,
        section("Whole", text(whole, label="Event as JSON")),
    )
    return Screen(title="Event", body=body)


_KINDS: Final = frozenset({"detection"})
"""Detection notes in the log how far it has come: then there are new events."""
PAGES: Final = (
    Page(path="/events", show=show, rows=rows, watches=_KINDS, is_shared=True),
    Page(path="/events/{id}", show=one),
)
ACTIONS: Final[tuple[Action, ...]] = ()
