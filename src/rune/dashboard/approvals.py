"""Approvals: tool calls that wait for a person, who sees what is asked and until when it waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from rune.api.security import approvals as api
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import Node, el
from rune.dashboard.parts import (
    DO,
    PAGE,
    badge,
    button,
    empty,
    facts,
    field,
    heading,
    link,
    long_table,
    path,
    row,
    section,
    table,
    tabs,
    text,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/approvals", label="Approvals", needs=api.list_),)
COLUMNS: Final = ("Tool", "Agent", "Rule", "Severity", "State", "Asked", "Waits until", "")
STATUSES: Final = {"pending": "Waiting", "approved": "Approved", "denied": "Denied", "expired": "Expired"}
KINDS: Final = frozenset({"security-approval"})
RULE: Final = """\
rules:
  - name: ask-before-paying
    type: tool_denylist
    tools: [pay_invoice]
    action: require_approval"""


async def show(ask: Ask) -> Screen:
    """Those that wait, or that did."""
    status = ask.query.get("status", "pending")
    pairs = [
        (key, path("approvals", status=key), label) for key, label in (*STATUSES.items(), ("all", "All"))
    ]
    part = await rows(ask)
    listing = long_table(ask, COLUMNS, part, label="Approvals") if part.rows else _nothing(status)
    return Screen(title="Approvals", body=(heading("Approvals"), tabs(status, pairs, "State"), listing))


def _nothing(status: str) -> Markup:
    hint = (
        "A rule whose action is require_approval holds a tool call until somebody allows or denies it here, "
        "with `rune approvals`, or from an assistant. In a policy:"
    )
    return empty("Nothing waits" if status == "pending" else "No approvals", hint, RULE)


async def rows(ask: Ask) -> Part:
    """Some of them."""
    asked = api.ListApprovalsRequest(
        status=ask.query.get("status", "pending"), limit=PAGE, cursor=ask.query.get("cursor", "")
    )
    found = await ask.call(api.list_, asked)
    return Part(rows=[_row(ask, each) for each in found.approvals], cursor=found.next_cursor or "")


async def waiting(ask: Ask, most: int) -> tuple[Markup, ...]:
    """A section of the newest that wait; none where nothing does."""
    if not ask.may(api.list_):
        return ()
    found = (await ask.call(api.list_, api.ListApprovalsRequest(limit=most))).approvals
    if not found:
        return ()
    listing = table(COLUMNS, (_row(ask, each) for each in found), label="Waiting for approval")
    return (section("Waiting for approval", listing, beside=link("/approvals", "All approvals")),)


def _row(ask: Ask, each: api.Approval) -> Markup:
    at = path("approvals", each.id)
    return row(
        each.id, link(at, each.tool), link(path("agents", each.agent_id), each.agent_id), each.rule,
        badge(each.severity) if each.severity else "", badge(each.status), when(each.requested_at),
        when(each.expires_at), el("span", _levers(ask, each), class_="ways"), to=at,
    )  # fmt: skip


def _levers(ask: Ask, each: api.Approval) -> Iterable[Markup]:
    at = path("approvals", each.id)
    if each.status == "pending" and ask.may(api.approve):
        asked = f"Let {each.agent_id} call {each.tool}, this once?"
        yield button("Approve", f"{at}/approve", confirm=asked)
    if each.status == "pending" and ask.may(api.deny):
        asked = f"Refuse {each.agent_id} its call of {each.tool}?"
        yield button("Deny", f"{at}/deny", confirm=asked, kind="danger")


async def one(ask: Ask) -> Screen:
    """One, with what the call would do."""
    each = await ask.call(api.get, api.GetApprovalRequest(approval_id=ask.values["id"]))
    alert: Node = link(path("alerts", each.alert_id), "its alert") if each.alert_id else "none"
    shown = facts((
        ("State", badge(each.status)),
        ("Tool", each.tool),
        ("Agent", link(path("agents", each.agent_id), each.agent_id)),
        ("Rule", each.rule or "none"),
        ("Severity", badge(each.severity) if each.severity else "none"),
        ("Session", each.session_id or "none"),
        ("Asked", when(each.requested_at)),
        ("Waits until", when(each.expires_at)),
        ("Decided", when(each.decided_at)),
        ("By", each.decided_by or "nobody"),
        ("Note", each.note or "none"),
        ("Alert", alert),
    ))  # fmt: skip
    hidden = "The agent does not send arguments: capture_content is off. The same call has the same hash: "
    said = (
        text(each.arguments, label="Arguments")
        if each.arguments
        else el("p", hidden, el("code", each.arguments_hash or "none"), class_="dim")
    )
    title = f"May {each.agent_id} call {each.tool}?"
    body = (heading(title, back=("/approvals", "Approvals")), shown, section("Arguments", said))
    return Screen(title=title, body=(*body, *_decision(ask, each)))


def _decision(ask: Ask, each: api.Approval) -> Iterable[Markup]:
    if each.status != "pending" or not ask.may(api.approve, api.deny):
        return
    at = f"{DO}{path('approvals', each.id)}"
    approve_it = el("button", "Approve", type="submit", class_="primary")
    deny_it = el("button", "Deny", type="submit", class_="danger", formaction=f"{at}/deny")
    yield section("Decide, once", el(
        "form", field("note", "Note, for the audit log", maxlength=500),
        el("div", approve_it, deny_it, class_="sends"), method="post", action=f"{at}/approve",
        class_="form card",
    ))  # fmt: skip


async def approve(ask: Ask) -> Done:
    """The call goes ahead."""
    asked = api.ApproveCallRequest(approval_id=ask.values["id"], note=ask.given("note"))
    found = await ask.call(api.approve, asked)
    return Done(said=f"{found.agent_id} may call {found.tool}, this once.")


async def deny(ask: Ask) -> Done:
    """The call is refused."""
    asked = api.DenyCallRequest(approval_id=ask.values["id"], note=ask.given("note"))
    found = await ask.call(api.deny, asked)
    return Done(said=f"{found.agent_id} may not call {found.tool}.")


PAGES: Final = (
    Page(path="/approvals", show=show, rows=rows, watches=KINDS, is_shared=True),
    Page(path="/approvals/{id}", show=one, watches=KINDS),
)
ACTIONS: Final = (
    Action(path="/approvals/{id}/approve", act=approve),
    Action(path="/approvals/{id}/deny", act=deny),
)
