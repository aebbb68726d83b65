"""Namespaces: the scopes that services, secrets and rights live in."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import namespaces as api
from rune.api.orchestrator.namespaces import Namespace, NamespaceDeletion
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Screen
from rune.dashboard.parts import badge, button, field, folded, form, heading, path, row, table, when

LINKS: Final = (Link(path="/namespaces", label="Namespaces", needs=api.list_),)
BUILT_IN: Final = frozenset({"default", "system"})


async def show(ask: Ask) -> Screen:
    """Those that may be seen."""
    found = (await ask.call(api.list_, api.ListNamespacesRequest())).namespaces
    rows = (_row(ask, each) for each in found)
    listing = table(("Namespace", "Description", "State", "Made", ""), rows, label="Namespaces")
    return Screen(title="Namespaces", body=(heading("Namespaces"), listing, _new(ask)))


def _row(ask: Ask, each: Namespace) -> Markup:
    is_going = each.deletion is not NamespaceDeletion.UNSPECIFIED
    lever = None
    if ask.may(api.delete) and each.name not in BUILT_IN and not is_going:
        to = path("namespaces", each.name, "delete")
        lever = button(
            "Delete", to, confirm=f"Delete {each.name}? One that is not empty is kept.", kind="danger"
        )
    return row(
        each.name,
        each.name,
        each.description,
        badge("deleting" if is_going else "active"),
        when(each.created_at),
        lever,
    )


def _new(ask: Ask) -> Markup | None:
    if not ask.may(api.create):
        return None
    return folded("New namespace", form(
        "/namespaces/create",
        field("name", "Name", required=True, maxlength=63),
        field("description", "Description", maxlength=4096),
        press="Create",
    ))  # fmt: skip


async def create(ask: Ask) -> Done:
    """One more."""
    made = Namespace(name=ask.given("name"), description=ask.given("description"))
    await ask.call(api.create, api.CreateNamespaceRequest(namespace=made))
    return Done(said=f"Namespace {made.name} is there.")


async def delete(ask: Ask) -> Done:
    """Only an empty one; the CLI has --force."""
    await ask.call(api.delete, api.DeleteNamespaceRequest(name=ask.values["name"]))
    return Done(said=f"Namespace {ask.values['name']} is deleted.")


PAGES: Final = (Page(path="/namespaces", show=show, watches=frozenset({"namespace"})),)
ACTIONS: Final = (
    Action(path="/namespaces/create", act=create),
    Action(path="/namespaces/{name}/delete", act=delete),
)
