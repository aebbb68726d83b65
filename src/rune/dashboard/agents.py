"""Agents: their risk, what they did, the tools they use, and the switch that cuts one off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup

from rune.api.security import agents as api
from rune.api.security import alerts as alerts_api
from rune.api.security import events as events_api
from rune.api.security import stats as stats_api
from rune.api.security.events import SecurityEvent
from rune.dashboard import alerts, events
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el, join
from rune.dashboard.parts import (
    PAGE,
    badge,
    button,
    chart,
    choice,
    empty,
    facts,
    field,
    filters,
    folded,
    form,
    heading,
    link,
    long_table,
    path,
    row,
    section,
    spark,
    table,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/agents", label="Agents", needs=api.list_),)
COLUMNS: Final = (
    "Agent", "Name", "Framework", "Status", "Risk", "Activity", "Events", "Blocked", "Last seen",
)  # fmt: skip
STATUSES: Final = {"": "Any status", "active": "Active", "inactive": "Inactive", "quarantined": "Quarantined"}
RECENT: Final = 200
"""Events that the timeline and the tools are read from."""
STEPS: Final = 24


async def show(ask: Ask) -> Screen:
    """All of them."""
    part = await rows(ask)
    narrow = filters("/agents", choice("status", "Status", STATUSES, ask.query.get("status", "")))
    listing = long_table(ask, COLUMNS, part, label="Agents") if part.rows else _nothing()
    return Screen(title="Agents", body=(heading("Agents"), narrow, listing, _register(ask)))


def _nothing() -> Markup:
    return empty(
        "No agents",
        "An agent appears here with the first event that it sends. "
        "Give it an API key (Settings, API keys), and three lines:",
        'from rune import Shield\nshield = Shield(default_agent_id="support-bot")\nshield.scan_input(text)',
    )


def _register(ask: Ask) -> Markup | None:
    if not ask.may(api.register):
        return None
    return folded("Register an agent", form(
        "/agents/register",
        field("agent_id", "Agent id", required=True, maxlength=128),
        field("name", "Name", maxlength=200),
        field("framework", "Framework", maxlength=200),
        press="Register",
    ))  # fmt: skip


async def rows(ask: Ask) -> Part:
    """Some of them."""
    asked = api.ListAgentsRequest(
        status=ask.query.get("status", ""), limit=PAGE, cursor=ask.query.get("cursor", "")
    )
    found = await ask.call(api.list_, asked)
    active = await _active(ask, found.agents)
    each_row = [_row(each, active.get(each.agent_id)) for each in found.agents]
    return Part(rows=each_row, cursor=found.next_cursor or "")


async def _active(ask: Ask, agents: Sequence[api.Agent]) -> dict[str, stats_api.AgentActivity]:
    """The last hours of those that sent something in them, in one call."""
    recent = ask.now - timedelta(hours=STEPS)
    names = [each.agent_id for each in agents if each.last_seen and each.last_seen > recent]
    if not names or not ask.may(stats_api.activity):
        return {}
    found = await ask.call(stats_api.activity, stats_api.GetActivityRequest(agent_ids=names, hours=STEPS))
    return {each.agent_id: each for each in found.agents}


def _spark(active: stats_api.AgentActivity | None) -> Markup | None:
    if active is None or not any(active.events):
        return None
    label = f"{sum(active.events)} events in {STEPS} hours, {sum(active.blocked)} blocked"
    return spark(active.events, label, over=active.blocked)


def _row(each: api.Agent, active: stats_api.AgentActivity | None) -> Markup:
    at = path("agents", each.agent_id)
    return row(
        each.agent_id, link(at, each.agent_id), each.name, each.framework, badge(each.status),
        _risk(each.risk_score), _spark(active),
        each.event_count, each.block_count, when(each.last_seen), to=at,
    )  # fmt: skip


def _risk(score: float) -> Markup:
    label = f"risk {score:.2f} of 1"
    return join(
        el("meter", value=f"{score:.3f}", max=1, low=0.5, high=0.8, optimum=0, aria_label=label),
        f" {score:.2f}",
    )


async def one(ask: Ask) -> Screen:
    """One, with what it did lately."""
    name = ask.values["id"]
    found = await ask.call(api.get, api.GetAgentRequest(agent_id=name))
    each = found.agent
    shown = facts((
        ("Status", badge(each.status)),
        ("Risk", _risk(each.risk_score)),
        ("Framework", each.framework or "unknown"),
        ("Tags", ", ".join(each.tags) or "none"),
        ("Events", f"{each.event_count}, {each.block_count} of them blocked"),
        ("Usual", _usual(found)),
        ("Last seen", when(each.last_seen)),
        ("Registered", when(found.registered_at)),
        ("Service", found.service or "none that Rune runs"),
    ))  # fmt: skip
    body = (heading(each.name or name, _switch(ask, each), back=("/agents", "Agents")), shown)
    recent = await _recent(ask, name)
    beside = el("div", _tools(recent), await _alerts(ask, name), class_="beside")
    return Screen(
        title=each.name or name, body=(*body, _activity(ask, recent), beside, _timeline(recent, name))
    )


def _usual(found: api.AgentDetails) -> str:
    rate = f"{found.events_per_hour:.1f} events an hour, {found.block_rate:.1%} of them blocked"
    return f"{rate} ({found.baseline_hours} h known)"


def _switch(ask: Ask, each: api.Agent) -> Markup | None:
    if not ask.may(api.update):
        return None
    at = path("agents", each.agent_id, "quarantine")
    if each.status == "quarantined":
        return button("Release", at, confirm=f"Let {each.agent_id} work again?", on="no")
    asked = f"Cut {each.agent_id} off? Its own API keys are refused until it is released."
    return button("Quarantine", at, confirm=asked, kind="danger", on="yes")


async def _recent(ask: Ask, name: str) -> Sequence[SecurityEvent]:
    if not ask.may(events_api.list_):
        return ()
    asked = events_api.ListSecurityEventsRequest(agent_id=name, limit=RECENT)
    return (await ask.call(events_api.list_, asked)).events


def _activity(ask: Ask, recent: Sequence[SecurityEvent]) -> Markup | None:
    """How many events over time, and how many of them were blocked."""
    if not ask.may(events_api.list_):
        return None
    if not recent:
        hint = "It has sent no events yet, or they are older than what is kept."
        return section("Activity", empty("No events", hint))
    counts = _over_time(recent, ask.now)
    blocked = _over_time([event for event in recent if event.verdict == "blocked"], ask.now)
    came = f"{sum(counts)} of its last {len(recent)} events came in the last {STEPS} hours"
    label = f"{came}, {sum(blocked)} were blocked"
    return section("Activity", chart(counts, label, (f"{STEPS} h ago", "now"), over=blocked))


def _tools(recent: Sequence[SecurityEvent]) -> Markup | None:
    tools = Counter(event.tool.name for event in recent if event.tool and event.tool.name)
    stopped = Counter(event.tool.name for event in recent if event.tool and event.verdict == "blocked")
    if not tools:
        return None
    used = [row(tool, tool, count, stopped[tool]) for tool, count in tools.most_common(20)]
    return section("Tools used", table(("Tool", "Calls", "Blocked"), used, label="Tools"))


def _timeline(recent: Sequence[SecurityEvent], name: str) -> Markup | None:
    if not recent:
        return None
    beside = link(path("events", agent=name), "All its events")
    return section("Timeline", events.timeline(recent[:50]), beside=beside)


def _over_time(recent: Sequence[SecurityEvent], now: datetime) -> list[int]:
    counts = [0] * STEPS
    for event in recent:
        hours = int((now - event.timestamp) / timedelta(hours=1))
        if 0 <= hours < STEPS:
            counts[STEPS - 1 - hours] += 1
    return counts


async def _alerts(ask: Ask, name: str) -> Markup | None:
    if not ask.may(alerts_api.list_):
        return None
    found = await ask.call(
        alerts_api.list_, alerts_api.ListAlertsRequest(status="all", agent_id=name, limit=20)
    )
    rows = [
        row(
            each.id, badge(each.severity), link(path("alerts", each.id), each.title), badge(each.status),
            when(each.last_seen), to=path("alerts", each.id),
        )
        for each in found.alerts
    ]  # fmt: skip
    listing = table(("Severity", "Alert", "Status", "Last seen"), rows, label="Alerts")
    return section("Alerts", listing if rows else el("p", "None.", class_="dim"))


async def quarantine(ask: Ask) -> Done:
    """Cut it off, or let it go on."""
    name, is_on = ask.values["id"], ask.given("on") == "yes"
    await ask.call(api.update, api.UpdateAgentRequest(agent_id=name, quarantined=is_on))
    return Done(said=f"{name} is {'quarantined' if is_on else 'released'}.")


async def register(ask: Ask) -> Done:
    """A new agent."""
    asked = api.RegisterAgentRequest(
        agent_id=ask.given("agent_id"), name=ask.given("name"), framework=ask.given("framework")
    )
    await ask.call(api.register, asked)
    return Done(said=f"{asked.agent_id} is registered.", to=path("agents", asked.agent_id))


_KINDS: Final = frozenset({"security-agent", "detection"})
PAGES: Final = (
    Page(path="/agents", show=show, rows=rows, watches=_KINDS, is_shared=True),
    Page(path="/agents/{id}", show=one, watches=_KINDS | alerts.KINDS),
)
ACTIONS: Final = (
    Action(path="/agents/register", act=register),
    Action(path="/agents/{id}/quarantine", act=quarantine),
)
