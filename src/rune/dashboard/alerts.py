"""Alerts: the triage board, many at a time or one with its history. A false positive teaches all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from markupsafe import Markup

from rune.api.security import alerts as api
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el, join
from rune.dashboard.parts import (
    PAGE,
    badge,
    button,
    choice,
    empty,
    facts,
    field,
    filters,
    form,
    heading,
    link,
    long_table,
    path,
    row,
    section,
    tabs,
    text,
    when,
)  # fmt: skip
from rune.errors import InvalidArgument, RuneError

LINKS: Final = (Link(path="/alerts", label="Alerts", needs=api.list_),)
COLUMNS: Final = ("Severity", "Alert", "Agent", "Status", "Times", "Last seen")
STATUSES: Final = {
    "open": "Open", "investigating": "Investigating", "resolved": "Resolved",
    "false_positive": "False positive",
}  # fmt: skip
SEVERITIES: Final = {
    "": "Any severity",
    "critical": "Critical",
    "high": "High",
    "medium": "Medium",
    "low": "Low",
}
KINDS: Final = frozenset({"security-alert"})
MOST_AT_ONCE: Final = 500


def nothing() -> Markup:
    """Where there is no alert."""
    return empty(
        "No alerts",
        "An alert is raised when a guarded agent's event is blocked, is risky, or breaks a policy. "
        "Guard an agent with three lines, and what it does is watched:",
        "from rune import Shield\nshield = Shield()\nshield.scan_input(text)",
    )


async def show(ask: Ask) -> Screen:
    """The board."""
    status = ask.query.get("status", "open")
    pairs = [(key, path("alerts", status=key), label) for key, label in (*STATUSES.items(), ("all", "All"))]
    ways = (link("/alerts/false-positives", "False positives", class_="button"),)
    part = await rows(ask)
    narrow = filters(
        "/alerts",
        el("input", type="hidden", name="status", value=status),
        choice("severity", "Severity", SEVERITIES, ask.query.get("severity", "")),
        field("agent", "Agent", value=ask.query.get("agent", ""), maxlength=128, type="search"),
    )
    if part.rows:
        listing = join(_bulk(ask), long_table(ask, _columns(ask), part, label="Alerts"))
    else:
        listing = nothing()
    return Screen(
        title="Alerts", body=(heading("Alerts", *ways), tabs(status, pairs, "Status"), narrow, listing)
    )


def _columns(ask: Ask) -> tuple[str, ...]:
    return ("Pick", *COLUMNS) if ask.may(api.update) else COLUMNS


def _bulk(ask: Ask) -> Markup | None:
    """The form that the picked rows belong to."""
    if not ask.may(api.update):
        return None
    return el(
        "form",
        el("button", "Pick all in view", type="button", data_pick="id"),
        choice("status", "Picked become", {"investigating": "Investigating", **STATUSES}),
        field("note", "Note", maxlength=4096),
        el("button", "Apply", type="submit", class_="primary"),
        method="post", action="/ui/do/alerts/update", id="bulk", class_="filters", data_keep=True,
    )  # fmt: skip


async def rows(ask: Ask) -> Part:
    """Some of them."""
    found = await ask.call(
        api.list_,
        api.ListAlertsRequest(
            status=ask.query.get("status", "open"),
            severity=ask.query.get("severity", ""),
            agent_id=ask.query.get("agent", ""),
            limit=PAGE,
            cursor=ask.query.get("cursor", ""),
        ),
    )
    shown = [alert_row(each, is_picked=ask.may(api.update)) for each in found.alerts]
    return Part(rows=shown, cursor=found.next_cursor or "")


def alert_row(each: api.Alert, *, is_picked: bool) -> Markup:
    """One alert, with a box to pick it where it may be changed."""
    at = path("alerts", each.id)
    box = el(
        "input", type="checkbox", name="id", value=each.id, form="bulk", aria_label=f"Pick: {each.title}"
    )
    return row(
        each.id,
        *((box,) if is_picked else ()),
        badge(each.severity),
        link(at, each.title),
        link(path("agents", each.agent_id), each.agent_id),
        badge(each.status),
        each.occurrences,
        when(each.last_seen),
        to=at,
    )


async def one(ask: Ask) -> Screen:
    """One, with all that is known of it."""
    found = await ask.call(api.get, api.GetAlertRequest(alert_id=ask.values["id"]))
    alert = found.alert
    event = link(path("events", found.last_event), found.last_event) if found.last_event else "none"
    shown = facts((
        ("Severity", badge(alert.severity)),
        ("Status", badge(alert.status)),
        ("Agent", link(path("agents", alert.agent_id), alert.agent_id)),
        ("Kind", alert.alert_type),
        ("Threat", alert.threat or "none"),
        ("Rule", alert.rule or "none"),
        ("Times", str(alert.occurrences)),
        ("First seen", when(alert.first_seen)),
        ("Last seen", when(alert.last_seen)),
        ("Last event", event),
    ))  # fmt: skip
    proof = msgspec.json.format(msgspec.json.encode(found.details)).decode()
    body = (
        heading(alert.title, back=("/alerts", "Alerts")),
        shown,
        _triage(ask, alert),
        section("History", _history(found.history)),
        section("What speaks for it", text(proof, label="Details")),
    )
    return Screen(title=alert.title, body=body)


def _triage(ask: Ask, alert: api.Alert) -> Markup | None:
    if not ask.may(api.update):
        return None
    teach = "A false positive teaches every scanner to let exactly this pass."
    return form(
        path("alerts", alert.id, "update"),
        choice("status", "Status", STATUSES, alert.status),
        field("note", "Note", maxlength=4096),
        el("p", teach, class_="dim"),
        press="Change",
        kind="line",
    )


def _history(changes: Iterable[api.AlertChange]) -> Markup:
    items = [
        el("li", when(each.at), " ", badge(each.was), " → ", badge(each.status), " by ", each.by or "Rune",
           el("p", each.note) if each.note else None)
        for each in changes
    ]  # fmt: skip
    return (
        el("ol", items, class_="timeline") if items else el("p", "Nobody has touched it yet.", class_="dim")
    )


async def false_positives(ask: Ask) -> Screen:
    """What scanners let pass."""
    part = await false_positive_rows(ask)
    columns = ("Threat", "Rule", "What", "Agent", "By", "Since", "")
    hint = "Nothing is let pass. Mark an alert as a false positive, and every scanner lets exactly that pass."
    listing = (
        long_table(ask, columns, part, label="False positives")
        if part.rows
        else empty("No false positives", hint)
    )
    return Screen(
        title="False positives", body=(heading("False positives", back=("/alerts", "Alerts")), listing)
    )


async def false_positive_rows(ask: Ask) -> Part:
    """Some of them."""
    asked = api.ListFalsePositivesRequest(limit=PAGE, cursor=ask.query.get("cursor", ""))
    found = await ask.call(api.list_false_positives, asked)
    may = ask.may(api.delete_false_positive)
    shown = [
        row(
            each.id, each.threat_type, each.rule, each.pattern or (each.fingerprint or "")[:16],
            each.agent_id or "every agent", each.created_by, when(each.created_at),
            _forgetting(each.id) if may else None,
        )
        for each in found.false_positives
    ]  # fmt: skip
    return Part(rows=shown, cursor=found.next_cursor or "")


def _forgetting(pattern: str) -> Markup:
    return button("Forget", "/false-positives/forget", confirm="Let scanners find this again?", id=pattern)


async def update(ask: Ask) -> Done:
    """One alert's status."""
    asked = api.UpdateAlertRequest(alert_id=ask.values["id"], status=_status(ask), note=ask.given("note"))
    await ask.call(api.update, asked)
    return Done(said=f"The alert is {STATUSES[asked.status].lower()} now.")


async def update_many(ask: Ask) -> Done:
    """Every picked alert's status; one that fails stops the rest and is named."""
    picked, status = ask.every("id"), _status(ask)
    if not picked:
        raise InvalidArgument("pick at least one alert")
    if len(picked) > MOST_AT_ONCE:
        raise InvalidArgument(f"pick at most {MOST_AT_ONCE} alerts at a time")
    for count, alert_id in enumerate(picked):
        asked = api.UpdateAlertRequest(alert_id=alert_id, status=status, note=ask.given("note"))
        try:
            await ask.call(api.update, asked)
        except RuneError as failure:
            raise type(failure)(
                f"{count} of {len(picked)} changed; then {alert_id}: {failure.message}"
            ) from failure
    return Done(said=f"{len(picked)} alerts are {STATUSES[status].lower()} now.")


def _status(ask: Ask) -> str:
    status = ask.given("status")
    if status not in STATUSES:
        raise InvalidArgument(f"an alert is one of {', '.join(STATUSES)}")
    return status


async def forget(ask: Ask) -> Done:
    """Let scanners find it again."""
    await ask.call(
        api.delete_false_positive, api.DeleteFalsePositiveRequest(false_positive_id=ask.given("id"))
    )
    return Done(said="Scanners find it again.")


PAGES: Final = (
    Page(path="/alerts", show=show, rows=rows, watches=KINDS, is_shared=True),
    Page(
        path="/alerts/false-positives",
        show=false_positives,
        rows=false_positive_rows,
        watches=frozenset({"false-positive"}),
    ),
    Page(path="/alerts/{id}", show=one, watches=KINDS),
)
ACTIONS: Final = (
    Action(path="/alerts/update", act=update_many),
    Action(path="/alerts/{id}/update", act=update),
    Action(path="/false-positives/forget", act=forget),
)
