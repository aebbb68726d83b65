"""Who is logged in: the sessions of browsers and command lines, one's own or everybody's, and their end."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import admin
from rune.api.orchestrator import sessions as api
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    PAGE,
    badge,
    button,
    empty,
    heading,
    long_table,
    path,
    row,
    tabs,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/settings/sessions", label="Sessions", needs=api.list_),)
COLUMNS: Final = ("User", "Began with", "Where", "Address", "Begun", "Last refreshed", "Ends", "")
WAYS: Final = {
    "password": "a password", "oidc": "single sign-on", "token": "a token", "session": "another session",
    "enrollment": "a code",
}  # fmt: skip
EDGES: Final = {"dashboard": "a browser", "grpc": "gRPC", "http": "HTTP"}


async def show(ask: Ask) -> Screen:
    """One's own, and for who looks after the server everybody's."""
    part = await rows(ask)
    whose = ask.query.get("whose", "own")
    pairs = [("own", path("settings", "sessions"), "Mine")]
    if ask.may(admin.list_users):
        pairs.append(("all", path("settings", "sessions", whose="all"), "Everybody's"))
    listing = long_table(ask, COLUMNS, part, label="Sessions") if part.rows else _nothing()
    return Screen(title="Sessions", body=(heading("Sessions"), tabs(whose, pairs, "Whose"), listing))


def _nothing() -> Markup:
    return empty(
        "No sessions",
        "A log-in with a password, a token or single sign-on begins a session; it ends by itself when nobody "
        "uses it, when its user is deleted, and here.",
        "rune login --user ann",
    )


async def rows(ask: Ask) -> Part:
    """Some of them, by their place in the list."""
    asked = api.ListSessionsRequest(everybody=ask.query.get("whose") == "all")
    found = (await ask.call(api.list_, asked)).sessions
    text = ask.query.get("cursor", "0")
    first = int(text) if text.isascii() and text.isdigit() else 0
    more = str(first + PAGE) if len(found) > first + PAGE else ""
    return Part(rows=[_row(ask, each) for each in found[first : first + PAGE]], cursor=more)


def _row(ask: Ask, each: api.SessionInfo) -> Markup:
    lever = None
    if each.current:
        lever = el("span", badge("current"))
    elif ask.may(api.revoke):
        asked = f"End this session of {each.subject_name}? What it has open ends at once."
        lever = button("End", path("sessions", each.id, "end"), confirm=asked, kind="danger")
    return row(
        each.id, each.subject_name, WAYS.get(each.way, each.way), EDGES.get(each.edge, each.edge),
        each.address, when(each.begun_at), when(each.refreshed_at), when(each.expires_at), lever,
    )  # fmt: skip


async def end(ask: Ask) -> Done:
    """Everywhere it is open."""
    answer = await ask.call(api.revoke, api.RevokeSessionRequest(id=ask.values["id"]))
    return Done(said="The session is ended." if answer.revoked else "The session had ended already.")


PAGES: Final = (Page(path="/settings/sessions", show=show, rows=rows, watches=frozenset({"session"})),)
ACTIONS: Final = (Action(path="/sessions/{id}/end", act=end),)
