"""Secrets and configmaps: their keys, versions and changes. Values go in; this module never asks for one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from markupsafe import Markup

from rune.api.common import PagingParams
from rune.api.orchestrator import configmaps, secrets
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.secrets import Secret
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    PAGE,
    button,
    empty,
    facts,
    field,
    folded,
    form,
    heading,
    link,
    long_table,
    path,
    row,
    section,
    table,
    when,
)  # fmt: skip

LINKS: Final = (
    Link(path="/secrets", label="Secrets", needs=secrets.list_),
    Link(path="/configmaps", label="Configmaps", needs=configmaps.list_),
)
Patch = TypeVar("Patch", secrets.PatchSecretRequest, configmaps.PatchConfigmapRequest)
COLUMNS: Final = ("Name", "Namespace", "Keys", "Version", "Changed")


async def show_secrets(ask: Ask) -> Screen:
    """All secrets, by name."""
    part = await secret_rows(ask)
    hint = "A secret is sealed, and reaches services as files or variables. This page never shows a value."
    listing = (
        long_table(ask, COLUMNS, part, label="Secrets")
        if part.rows
        else empty("No secrets", hint, "rune create secret db --from-literal password=…")
    )
    return Screen(
        title="Secrets",
        body=(heading("Secrets"), listing, _new("secrets", "secret", may=ask.may(secrets.create))),
    )


async def secret_rows(ask: Ask) -> Part:
    """Some of them."""
    paging = PagingParams(limit=PAGE, continuation_token=ask.query.get("cursor", ""))
    found = await ask.call(secrets.list_, secrets.ListSecretsRequest(namespace="*", paging=paging))
    shown = [_row("secrets", each, each.data_keys) for each in found.secrets]
    return Part(rows=shown, cursor=found.paging.continuation_token if found.paging else "")


async def show_configmaps(ask: Ask) -> Screen:
    """All configmaps, by name."""
    part = await configmap_rows(ask)
    hint = "A configmap holds plain settings that services get as variables, or as files that change live."
    listing = (
        long_table(ask, COLUMNS, part, label="Configmaps")
        if part.rows
        else empty("No configmaps", hint, "rune create configmap web --from-literal colour=blue")
    )
    form = _new("configmaps", "configmap", may=ask.may(configmaps.create))
    return Screen(title="Configmaps", body=(heading("Configmaps"), listing, form))


async def configmap_rows(ask: Ask) -> Part:
    """Some of them."""
    paging = PagingParams(limit=PAGE, continuation_token=ask.query.get("cursor", ""))
    found = await ask.call(configmaps.list_, configmaps.ListConfigmapsRequest(namespace="*", paging=paging))
    shown = [_row("configmaps", each, list(each.data)) for each in found.configmaps]
    return Part(rows=shown, cursor=found.paging.continuation_token if found.paging else "")


def _row(noun: str, each: Secret | Configmap, keys: list[str]) -> Markup:
    at = path(noun, each.namespace, each.name)
    named = ", ".join(sorted(keys)[:8]) + (" …" if len(keys) > 8 else "")  # noqa: PLR2004 - as many as fit
    return row(
        f"{each.namespace}/{each.name}",
        link(at, each.name),
        each.namespace,
        named,
        each.version,
        when(each.updated_at),
        to=at,
    )


def _new(noun: str, word: str, *, may: bool) -> Markup | None:
    if not may:
        return None
    return folded(f"New {word}", form(
        f"/{noun}/create",
        field("namespace", "Namespace", value="default", required=True, maxlength=63),
        field("name", "Name", required=True, maxlength=63),
        *_pair(),
        press="Create",
    ))  # fmt: skip


def _pair(key: str = "") -> Iterable[Markup]:
    area = el(
        "textarea",
        name="value",
        rows=2,
        autocomplete="off",
        spellcheck="false",
        maxlength=65536,
        class_="private",
    )
    return field("key", "Key", value=key, required=True, maxlength=253), el(
        "label", el("span", "Value"), area
    )


async def one_secret(ask: Ask) -> Screen:
    """One secret: its keys and its versions, never a value."""
    namespace, name = ask.values["namespace"], ask.values["name"]
    found = (
        await ask.call(secrets.get, secrets.GetSecretRequest(name=name, namespace=namespace))
    ).secret or Secret(name=name)
    versions: list[Secret] = []
    if ask.may(secrets.list_versions):
        asked = secrets.ListSecretVersionsRequest(name=name, namespace=namespace)
        versions = (await ask.call(secrets.list_versions, asked)).versions
    return _screen(
        ask, "secrets", found, found.data_keys, versions,
        may=(ask.may(secrets.patch), ask.may(secrets.rollback), ask.may(secrets.delete)),
    )  # fmt: skip


async def one_configmap(ask: Ask) -> Screen:
    """One configmap: its keys and its versions."""
    namespace, name = ask.values["namespace"], ask.values["name"]
    asked = configmaps.GetConfigmapRequest(name=name, namespace=namespace)
    found = (await ask.call(configmaps.get, asked)).configmap or Configmap(name=name)
    versions: list[Configmap] = []
    if ask.may(configmaps.list_versions):
        listed = configmaps.ListConfigmapVersionsRequest(name=name, namespace=namespace)
        versions = (await ask.call(configmaps.list_versions, listed)).versions
    return _screen(
        ask, "configmaps", found, list(found.data), versions,
        may=(ask.may(configmaps.patch), ask.may(configmaps.rollback), ask.may(configmaps.delete)),
    )  # fmt: skip


def _screen(  # noqa: PLR0917 - two nouns, one page
    ask: Ask, noun: str, found: Secret | Configmap, keys: list[str], versions: Iterable[Secret | Configmap],
    *, may: tuple[bool, bool, bool],
) -> Screen:  # fmt: skip
    del ask
    at = path(noun, found.namespace, found.name)
    can_set, can_roll_back, can_delete = may
    asked = f"Delete {found.name}? Services that use it are refused it from then on."
    levers = (button("Delete", f"{at}/delete", confirm=asked, kind="danger"),) if can_delete else ()

    def drop(key: str) -> Markup | None:
        return button("Remove", f"{at}/set", confirm=f"Remove the key {key}?", gone=key) if can_set else None

    def back(version: int) -> Markup | None:
        if not can_roll_back or version == found.version:
            return None
        return button(
            "Roll back", f"{at}/rollback", confirm=f"Make version {version} the newest?", version=str(version)
        )

    kept = (row(key, key, el("span", "•••", aria_label="hidden"), drop(key)) for key in sorted(keys))
    older = (
        row(str(each.version), each.version, when(each.updated_at), back(each.version)) for each in versions
    )
    body = (
        heading(found.name, *levers, back=(f"/{noun}", noun.capitalize())),
        facts(
            (
                ("Namespace", found.namespace),
                ("Version", str(found.version)),
                ("Changed", when(found.updated_at)),
            )
        ),
        section("Keys", table(("Key", "Value", ""), kept, label="Keys")),
        folded("Set a key", form(f"{at}/set", *_pair(), press="Set")) if can_set else None,
        section("Versions", table(("Version", "Made", ""), older, label="Versions")),
    )
    return Screen(title=found.name, body=body)


async def create_secret(ask: Ask) -> Done:
    """A secret of one key."""
    secret = Secret(
        name=ask.given("name"), namespace=ask.given("namespace"), data={ask.given("key"): ask.text("value")}
    )
    await ask.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    return Done(
        said=f"Secret {secret.name} is sealed.",
        to=path("secrets", secret.namespace or "default", secret.name),
    )


async def create_configmap(ask: Ask) -> Done:
    """A configmap of one key."""
    made = Configmap(
        name=ask.given("name"), namespace=ask.given("namespace"), data={ask.given("key"): ask.text("value")}
    )
    await ask.call(configmaps.create, configmaps.CreateConfigmapRequest(configmap=made))
    return Done(
        said=f"Configmap {made.name} is there.", to=path("configmaps", made.namespace or "default", made.name)
    )


async def set_secret(ask: Ask) -> Done:
    """Set a key of a secret, or remove one."""
    await ask.call(secrets.patch, _change(secrets.PatchSecretRequest, ask))
    return Done(said="Changed: it is a new version.")


async def set_configmap(ask: Ask) -> Done:
    """Set a key of a configmap, or remove one."""
    await ask.call(configmaps.patch, _change(configmaps.PatchConfigmapRequest, ask))
    return Done(said="Changed: it is a new version.")


def _change(request: type[Patch], ask: Ask) -> Patch:
    """What a form wants changed: a key set, or a key gone."""
    namespace, name, gone = ask.values["namespace"], ask.values["name"], ask.given("gone")
    if gone:
        return request(name=name, namespace=namespace, unset=[gone])
    return request(name=name, namespace=namespace, set={ask.given("key"): ask.text("value")})


async def roll_back_secret(ask: Ask) -> Done:
    """An earlier version as the newest."""
    where = {"name": ask.values["name"], "namespace": ask.values["namespace"]}
    await ask.call(secrets.rollback, secrets.RollbackSecretRequest(**where, to_version=ask.number("version")))
    return Done(said=f"The newest version says what version {ask.number('version')} said.")


async def roll_back_configmap(ask: Ask) -> Done:
    """An earlier version as the newest."""
    where = {"name": ask.values["name"], "namespace": ask.values["namespace"]}
    await ask.call(
        configmaps.rollback, configmaps.RollbackConfigmapRequest(**where, to_version=ask.number("version"))
    )
    return Done(said=f"The newest version says what version {ask.number('version')} said.")


async def delete_secret(ask: Ask) -> Done:
    """For good."""
    await ask.call(
        secrets.delete,
        secrets.DeleteSecretRequest(name=ask.values["name"], namespace=ask.values["namespace"]),
    )
    return Done(said="The secret is deleted.", to="/secrets")


async def delete_configmap(ask: Ask) -> Done:
    """For good."""
    asked = configmaps.DeleteConfigmapRequest(name=ask.values["name"], namespace=ask.values["namespace"])
    await ask.call(configmaps.delete, asked)
    return Done(said="The configmap is deleted.", to="/configmaps")


_SECRETS: Final = frozenset({"secret", "secret-version"})
_CONFIGMAPS: Final = frozenset({"configmap", "configmap-version"})
PAGES: Final = (
    Page(path="/secrets", show=show_secrets, rows=secret_rows, watches=_SECRETS),
    Page(path="/secrets/{namespace}/{name}", show=one_secret, watches=_SECRETS),
    Page(path="/configmaps", show=show_configmaps, rows=configmap_rows, watches=_CONFIGMAPS),
    Page(path="/configmaps/{namespace}/{name}", show=one_configmap, watches=_CONFIGMAPS),
)
ACTIONS: Final = (
    Action(path="/secrets/create", act=create_secret),
    Action(path="/secrets/{namespace}/{name}/set", act=set_secret),
    Action(path="/secrets/{namespace}/{name}/rollback", act=roll_back_secret),
    Action(path="/secrets/{namespace}/{name}/delete", act=delete_secret),
    Action(path="/configmaps/create", act=create_configmap),
    Action(path="/configmaps/{namespace}/{name}/set", act=set_configmap),
    Action(path="/configmaps/{namespace}/{name}/rollback", act=roll_back_configmap),
    Action(path="/configmaps/{namespace}/{name}/delete", act=delete_configmap),
)
