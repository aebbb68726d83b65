"""The audit log: who did what, and whether the log is as it was written."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import audit as api
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import badge, button, choice, empty, field, filters, heading, row, table, when

LINKS: Final = (Link(path="/settings/audit", label="Audit log", needs=api.list_),)
COLUMNS: Final = ("Time", "Who", "Did", "To", "Namespace", "Outcome", "Message")
COUNTS: Final = {"100": "100 entries", "500": "500 entries", "2000": "2,000 entries"}


async def show(ask: Ask) -> Screen:
    """The newest entries that fit."""
    asked = ask.query
    most = asked.get("most", "100")
    found = await ask.call(
        api.list_,
        api.ListAuditEventsRequest(
            actor=asked.get("actor", ""),
            action=asked.get("action", ""),
            resource=asked.get("resource", ""),
            namespace=asked.get("namespace", ""),
            limit=int(most) if most in COUNTS else 100,
        ),
    )
    narrow = filters(
        "/settings/audit",
        *(
            field(name, name.capitalize(), value=asked.get(name, ""), type="search")
            for name in ("actor", "action", "resource", "namespace")
        ),
        choice("most", "Show", COUNTS, most),
    )
    hint = "Every change and every refusal is written here, chained by hash. Nothing fits what is asked for."
    listing = (
        table(COLUMNS, map(_row, found.events), label="Audit log")
        if found.events
        else empty("No entries", hint)
    )
    levers = (button("Verify", "/audit/verify"),) if ask.may(api.verify) else ()
    return Screen(title="Audit log", body=(heading("Audit log", *levers), narrow, listing))


def _row(each: api.AuditEvent) -> Markup:
    message = el("span", each.message[:300], class_="dim")
    return row(
        each.id,
        when(each.timestamp),
        each.actor,
        each.action,
        each.resource_ref,
        each.namespace,
        badge(each.outcome),
        message,
    )


async def verify(ask: Ask) -> Done:
    """Whether anything was changed, dropped or cut off."""
    found = await ask.call(api.verify, api.VerifyAuditRequest())
    if found.intact:
        return Done(said=f"All {found.entries} entries are as they were written.")
    return Done(said=f"The log is not as it was written: {found.problem}")


_KINDS: Final = frozenset(
    {"service", "instance", "namespace", "secret", "configmap", "security-policy", "security-alert", "apikey"}
)
PAGES: Final = (Page(path="/settings/audit", show=show, watches=_KINDS),)
ACTIONS: Final = (Action(path="/audit/verify", act=verify),)
