"""Webhooks: the addresses that are told of alerts, and how deliveries go. A secret is shown once."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.security import webhooks as api
from rune.dashboard.alerts import SEVERITIES
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    PAGE,
    badge,
    button,
    choice,
    empty,
    field,
    folded,
    form,
    heading,
    long_table,
    path,
    row,
    secret,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/webhooks", label="Webhooks", needs=api.list_),)
COLUMNS: Final = ("Address", "Told of", "From", "As", "Delivered", "Given up", "Last trouble", "Made", "")
EVENTS: Final = {
    "": "New and changed alerts",
    "alert.created": "New alerts",
    "alert.updated": "Changed alerts",
}


async def show(ask: Ask) -> Screen:
    """All of them."""
    part = await rows(ask)
    listing = long_table(ask, COLUMNS, part, label="Webhooks") if part.rows else _nothing()
    return Screen(title="Webhooks", body=(heading("Webhooks"), _new(ask), listing))


def _nothing() -> Markup:
    return empty(
        "No webhooks",
        "A webhook tells another server of every alert, a chat or a pager perhaps. Each delivery is signed "
        "with the webhook's secret and is tried again until it arrives. Make one above, or in a terminal:",
        "rune alerts webhook create https://hooks.example.com/rune --min-severity high",
    )


async def rows(ask: Ask) -> Part:
    """Some of them."""
    found = await ask.call(api.list_, api.ListWebhooksRequest(limit=PAGE, cursor=ask.query.get("cursor", "")))
    return Part(rows=[_row(ask, each) for each in found.webhooks], cursor=found.next_cursor or "")


def _row(ask: Ask, each: api.Webhook) -> Markup:
    lever = None
    if ask.may(api.delete):
        asked = f"Delete the webhook to {each.url}? What is not delivered yet is dropped."
        lever = button("Delete", path("webhooks", each.id, "delete"), confirm=asked, kind="danger")
    trouble = el("span", badge("failed"), " ", each.last_error) if each.last_error else "none"
    return row(
        each.id, each.url, ", ".join(each.events) or "everything", each.min_severity or "any severity",
        "Slack" if each.slack else "JSON", each.delivered, each.failed, trouble, when(each.created_at), lever,
    )  # fmt: skip


def _new(ask: Ask) -> Markup | None:
    if not ask.may(api.create):
        return None
    slack = el(
        "label", el("input", type="checkbox", name="slack", value="yes"), el("span", "Write as for Slack")
    )
    return folded("New webhook", form(
        "/webhooks/create",
        field("url", "Address", type="url", required=True, maxlength=2000, placeholder="https://"),
        choice("event", "Told of", EVENTS, ""),
        choice("severity", "At least", SEVERITIES, ""),
        slack,
        press="Make webhook",
    ))  # fmt: skip


async def create(ask: Ask) -> Done:
    """One more; its secret is in the answer and nowhere else."""
    event = ask.given("event")
    made = await ask.call(
        api.create,
        api.CreateWebhookRequest(
            url=ask.given("url"),
            events=[event] if event else [],
            min_severity=ask.given("severity"),
            slack=ask.given("slack") == "yes",
        ),
    )
    return Done(said="The webhook is made.", shown=secret("webhook's secret", made.secret))


async def delete(ask: Ask) -> Done:
    """Nobody is told there from now on."""
    await ask.call(api.delete, api.DeleteWebhookRequest(webhook_id=ask.values["id"]))
    return Done(said="The webhook is deleted.")


PAGES: Final = (Page(path="/webhooks", show=show, rows=rows, watches=frozenset({"webhook"})),)
ACTIONS: Final = (
    Action(path="/webhooks/create", act=create),
    Action(path="/webhooks/{id}/delete", act=delete),
)
