"""Registries: where container images come from. Credentials are written here and never shown."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import registries as api
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig, RegistryRuntimeStatus
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    badge,
    button,
    choice,
    empty,
    field,
    folded,
    form,
    heading,
    path,
    row,
    table,
)  # fmt: skip

LINKS: Final = (Link(path="/registries", label="Registries", needs=api.registries_status),)
COLUMNS: Final = ("Registry", "Host", "Log-in", "Credentials", "Trouble", "")
TYPES: Final = {"basic": "User and password", "token": "Token", "ecr": "Amazon ECR"}


async def show(ask: Ask) -> Screen:
    """All of them, those of the Runefile as well."""
    found = (await ask.call(api.registries_status, api.RegistriesStatusRequest())).registries
    listing = table(COLUMNS, (_row(ask, each) for each in found), label="Registries") if found else _nothing()
    return Screen(title="Registries", body=(heading("Registries"), _new(ask), listing))


def _nothing() -> Markup:
    return empty(
        "No registries",
        "Public images need none. For others, say how to log in where they come from; what a service names "
        "is then pulled with it. Add one above, or at the command line, where a file has the password:",
        "rune admin registries add hub docker.io --username me --password-file hub.password",
    )


def _row(ask: Ask, each: RegistryRuntimeStatus) -> Markup:
    levers: list[Markup] = []
    if ask.may(api.test_registry):
        levers.append(button("Test", path("registries", each.name, "test")))
    if ask.may(api.remove_registry):
        asked = f"Remove {each.name}? Images that need its log-in are pulled no more."
        levers.append(button("Remove", path("registries", each.name, "remove"), confirm=asked, kind="danger"))
    return row(
        each.name, each.name, el("code", each.registry), each.type or "basic",
        "kept" if each.auth_configured else "none",
        el("span", badge("failed"), " ", each.last_error) if each.last_error else "none",
        el("span", *levers, class_="ways"),
    )  # fmt: skip


def _new(ask: Ask) -> Markup | None:
    if not ask.may(api.add_registry):
        return None
    return folded("New registry", form(
        "/registries/add",
        field("name", "Name", required=True, maxlength=63),
        field("host", "Host", required=True, maxlength=253, placeholder="registry.example.com"),
        choice("type", "Log-in", TYPES, "basic"),
        field("username", "User, or id of the access key", maxlength=256),
        field("password", "Password, or secret access key", type="password", maxlength=4096),
        field("token", "Token", type="password", maxlength=4096),
        field("secret", "Or a secret that has them", maxlength=128, placeholder="NAMESPACE/NAME"),
        press="Add",
    ))  # fmt: skip


async def add(ask: Ask) -> Done:
    """One more."""
    auth = RegistryAuthConfig(
        type=ask.given("type"), username=ask.given("username"), password=ask.text("password"),
        token=ask.text("token"), from_secret=ask.given("secret"),
    )  # fmt: skip
    wanted = RegistryConfig(name=ask.given("name"), registry=ask.given("host"), auth=auth)
    await ask.call(api.add_registry, api.AddRegistryRequest(registry=wanted))
    return Done(said=f"Registry {wanted.name} is added.")


async def test(ask: Ask) -> Done:
    """Knock there, with what is kept."""
    name = ask.values["name"]
    found = await ask.call(api.test_registry, api.TestRegistryRequest(name=name))
    return Done(said=f"{name} {'lets us in' if found.ok else 'does not let us in'}: {found.message}")


async def remove(ask: Ask) -> Done:
    """Its credentials go with it."""
    await ask.call(api.remove_registry, api.RemoveRegistryRequest(name=ask.values["name"]))
    return Done(said=f"Registry {ask.values['name']} is removed.")


PAGES: Final = (Page(path="/registries", show=show, watches=frozenset({"registry", "secret"})),)
ACTIONS: Final = (
    Action(path="/registries/add", act=add),
    Action(path="/registries/{name}/test", act=test),
    Action(path="/registries/{name}/remove", act=remove),
)
