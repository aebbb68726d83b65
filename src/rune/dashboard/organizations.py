"""Organizations: the tenants of the agent-security plane, and how much each may ask."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.security import organizations as api
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    PAGE,
    field,
    folded,
    form,
    heading,
    long_table,
    path,
    row,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/settings/organizations", label="Organizations", needs=api.list_),)
COLUMNS: Final = ("Organization", "Called", "Agents", "Reads", "Writes", "Events", "Bundles", "Made", "")
LIMITS: Final = {
    "reads_per_minute": "Reads a minute",
    "writes_per_minute": "Writes a minute",
    "events_per_second": "Events a second",
    "sdk_per_minute": "Bundles a minute",
}
HINT: Final = (
    "An organization has its own agents, policies, alerts, events and API keys, and sees nobody else's. "
    "A server for one company needs no other than default. Limits of 0 are those of the Runefile."
)


async def show(ask: Ask) -> Screen:
    """All of them; there is one from the first start."""
    part = await rows(ask)
    listing = long_table(ask, COLUMNS, part, label="Organizations")
    hint = el("p", HINT, class_="dim")
    return Screen(title="Organizations", body=(heading("Organizations"), hint, _new(ask), listing))


async def rows(ask: Ask) -> Part:
    """Some of them."""
    asked = api.ListOrganizationsRequest(limit=PAGE, cursor=ask.query.get("cursor", ""))
    found = await ask.call(api.list_, asked)
    return Part(rows=[_row(ask, each) for each in found.organizations], cursor=found.next_cursor or "")


def _row(ask: Ask, each: api.Organization) -> Markup:
    shown = (getattr(each.limits, name) or "usual" for name in LIMITS)
    return row(
        each.name,
        each.name,
        each.display_name,
        each.agents,
        *shown,
        when(each.created_at),
        _change(ask, each),
    )


def _change(ask: Ask, each: api.Organization) -> Markup | None:
    if not ask.may(api.update):
        return None
    called = field("display_name", f"{each.name} is called", value=each.display_name, maxlength=200)
    limits = (
        _limit(name, f"{label} of {each.name}", getattr(each.limits, name)) for name, label in LIMITS.items()
    )
    return folded("Change", form(path("organizations", each.name, "update"), called, *limits, press="Save"))


def _limit(name: str, label: str, value: int) -> Markup:
    return field(name, label, type="number", min="0", max="10000000", value=str(value))


def _new(ask: Ask) -> Markup | None:
    if not ask.may(api.create):
        return None
    return folded("New organization", form(
        "/organizations/create",
        field("name", "Name", required=True, maxlength=63),
        field("display_name", "Called", maxlength=200),
        *(_limit(name, label, 0) for name, label in LIMITS.items()),
        press="Create",
    ))  # fmt: skip


def _limits(ask: Ask) -> api.OrganizationLimits:
    return api.OrganizationLimits(**{name: ask.number(name) for name in LIMITS})


async def create(ask: Ask) -> Done:
    """One more."""
    asked = api.CreateOrganizationRequest(
        name=ask.given("name"), display_name=ask.given("display_name"), limits=_limits(ask)
    )
    made = await ask.call(api.create, asked)
    return Done(said=f"Organization {made.name} is there.")


async def update(ask: Ask) -> Done:
    """What it is called, and its limits."""
    asked = api.UpdateOrganizationRequest(
        name=ask.values["name"], display_name=ask.given("display_name"), limits=_limits(ask)
    )
    await ask.call(api.update, asked)
    return Done(said=f"Organization {asked.name} is changed.")


PAGES: Final = (
    Page(path="/settings/organizations", show=show, rows=rows, watches=frozenset({"organization"})),
)
ACTIONS: Final = (
    Action(path="/organizations/create", act=create),
    Action(path="/organizations/{name}/update", act=update),
)
