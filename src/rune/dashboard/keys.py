"""API keys: what agents and tools bring. A key's text is shown once, when it is made."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.security import apikeys as api
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

LINKS: Final = (Link(path="/settings/keys", label="API Keys", needs=api.list_),)
COLUMNS: Final = ("Name", "Begins with", "May", "Agent", "State", "Made", "Expires", "")
PERMISSIONS: Final = ("agents:write", "policies:write", "alerts:write")
DAY: Final = 86_400
SPANS: Final = {"0": "never", "30": "in 30 days", "90": "in 90 days", "365": "in a year"}


async def show(ask: Ask) -> Screen:
    """All of them, without their texts."""
    part = await rows(ask)
    hint = "An agent brings an API key with its events. Make one, and set it as RUNE_API_KEY where it runs."
    listing = long_table(ask, COLUMNS, part, label="API keys") if part.rows else empty("No API keys", hint)
    return Screen(title="API Keys", body=(heading("API Keys"), _new(ask), listing))


async def rows(ask: Ask) -> Part:
    """Some of them."""
    found = await ask.call(api.list_, api.ListApiKeysRequest(limit=PAGE, cursor=ask.query.get("cursor", "")))
    return Part(rows=[_row(ask, each) for each in found.api_keys], cursor=found.next_cursor or "")


def _row(ask: Ask, each: api.ApiKeyShown) -> Markup:
    is_over = each.expires_at is not None and each.expires_at <= ask.now
    state = "revoked" if each.revoked_at else "expired" if is_over else "active"
    lever = None
    if state == "active" and ask.may(api.revoke):
        asked = f"Revoke {each.name}? Whoever uses it is refused from now on."
        lever = button("Revoke", path("keys", each.id, "revoke"), confirm=asked, kind="danger")
    may = ", ".join(each.permissions) or "everything"
    return row(
        each.id, each.name, el("code", f"{each.prefix}…"), may if not each.agent_id else "its own events",
        each.agent_id or "any", badge(state), when(each.created_at), when(each.expires_at), lever,
    )  # fmt: skip


def _new(ask: Ask) -> Markup | None:
    if not ask.may(api.create):
        return None
    boxes = (
        el("label", el("input", type="checkbox", name="permission", value=each), el("span", each))
        for each in PERMISSIONS
    )
    return folded("New API key", form(
        "/keys/create",
        field("name", "Name", required=True, maxlength=200),
        field("agent", "Only for agent", maxlength=200),
        choice("days", "Expires", SPANS, "90"),
        el("fieldset", el("legend", "May write (none picked: everything)"), boxes),
        press="Make key",
    ))  # fmt: skip


async def create(ask: Ask) -> Done:
    """One more; its text is in the answer and nowhere else."""
    made = await ask.call(
        api.create,
        api.CreateApiKeyRequest(
            name=ask.given("name"),
            permissions=[each for each in ask.every("permission") if each in PERMISSIONS],
            agent_id=ask.given("agent"),
            expires_in_seconds=ask.number("days") * DAY,
        ),
    )
    return Done(said="The key is made.", shown=secret("API key", made.key))


async def revoke(ask: Ask) -> Done:
    """Good for nothing from now on."""
    await ask.call(api.revoke, api.RevokeApiKeyRequest(api_key_id=ask.values["id"]))
    return Done(said="The key is revoked.")


PAGES: Final = (Page(path="/settings/keys", show=show, rows=rows, watches=frozenset({"apikey"})),)
ACTIONS: Final = (
    Action(path="/keys/create", act=create),
    Action(path="/keys/{id}/revoke", act=revoke),
)
