"""Secrets and configmaps: their keys, versions and changes. Values go in; this module never asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

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

COLUMNS: Final = ("Name", "Namespace", "Keys", "Version", "Changed")
SHOWN: Final = 8
"""Keys that are named in a list."""
Config = Secret | Configmap


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """One of the two, whose operations have the same names: what it is called, and what tells them apart."""

    word: str
    api: ModuleType
    holds: type[Secret | Configmap]
    keys: Callable[[Any], Sequence[str]]
    """The names of its keys. A secret's values are not even in an answer."""
    hint: str
    command: str

    @property
    def many(self) -> str:
        """As the list is called, in answers and paths."""
        return f"{self.word}s"

    def at(self, each: Config) -> str:
        """Its page."""
        return path(self.many, each.namespace or "default", each.name)

    def may(self, ask: Ask, verb: str) -> bool:
        """The reader may do this."""
        return ask.may(getattr(self.api, verb))

    async def call(self, ask: Ask, verb: str, **fields: Any) -> Any:  # noqa: ANN401 - of two modules
        """One of its operations."""
        operation = getattr(self.api, verb)
        return await ask.call(operation, operation.request(**fields))

    # Pages

    async def show(self, ask: Ask) -> Screen:
        """All, by name."""
        part, title = await self.rows(ask), self.many.capitalize()
        listing = (
            long_table(ask, COLUMNS, part, label=title)
            if part.rows
            else empty(f"No {self.many}", self.hint, self.command)
        )
        return Screen(title=title, body=(heading(title), listing, self._new(ask)))

    async def rows(self, ask: Ask) -> Part:
        """Some of them."""
        paging = PagingParams(limit=PAGE, continuation_token=ask.query.get("cursor", ""))
        found = await self.call(ask, "list_", namespace="*", paging=paging)
        shown = [self._row(each) for each in getattr(found, self.many)]
        return Part(rows=shown, cursor=found.paging.continuation_token if found.paging else "")

    def _row(self, each: Config) -> Markup:
        keys, at = sorted(self.keys(each)), self.at(each)
        named = ", ".join(keys[:SHOWN]) + (" …" if len(keys) > SHOWN else "")
        return row(
            f"{each.namespace}/{each.name}", link(at, each.name), each.namespace, named, each.version,
            when(each.updated_at), to=at,
        )  # fmt: skip

    def _new(self, ask: Ask) -> Markup | None:
        if not self.may(ask, "create"):
            return None
        return folded(f"New {self.word}", form(
            f"/{self.many}/create",
            field("namespace", "Namespace", value="default", required=True, maxlength=63),
            field("name", "Name", required=True, maxlength=63),
            *_pair(),
            press="Create",
        ))  # fmt: skip

    async def one(self, ask: Ask) -> Screen:
        """One: its keys and its versions, never a value."""
        where = _where(ask)
        found = getattr(await self.call(ask, "get", **where), self.word) or self.holds(name=where["name"])
        versions: Sequence[Config] = ()
        if self.may(ask, "list_versions"):
            versions = (await self.call(ask, "list_versions", **where)).versions
        body = (
            heading(found.name, self._deletion(ask, found), back=(f"/{self.many}", self.many.capitalize())),
            facts((
                ("Namespace", found.namespace), ("Version", str(found.version)),
                ("Changed", when(found.updated_at)),
            )),
            self._keys(ask, found),
            self._versions(ask, found, versions),
        )  # fmt: skip
        return Screen(title=found.name, body=body)

    def _deletion(self, ask: Ask, found: Config) -> Markup | None:
        if not self.may(ask, "delete"):
            return None
        asked = f"Delete {found.name}? Services that use it are refused it from then on."
        return button("Delete", f"{self.at(found)}/delete", confirm=asked, kind="danger")

    def _keys(self, ask: Ask, found: Config) -> Markup:
        to, may = f"{self.at(found)}/set", self.may(ask, "patch")

        def drop(key: str) -> Markup | None:
            return button("Remove", to, confirm=f"Remove the key {key}?", gone=key) if may else None

        hidden = el("span", "•••", aria_label="hidden", role="img")
        kept = (row(key, key, hidden, drop(key)) for key in sorted(self.keys(found)))
        setting = folded("Set a key", form(to, *_pair(), press="Set")) if may else None
        return section("Keys", table(("Key", "Value", ""), kept, label="Keys"), setting)

    def _versions(self, ask: Ask, found: Config, versions: Iterable[Config]) -> Markup:
        to, may = f"{self.at(found)}/rollback", self.may(ask, "rollback")

        def back(version: int) -> Markup | None:
            if not may or version == found.version:
                return None
            asked = f"Make version {version} the newest?"
            return button("Roll back", to, confirm=asked, version=str(version))

        older = (
            row(str(each.version), each.version, when(each.updated_at), back(each.version))
            for each in versions
        )
        return section("Versions", table(("Version", "Made", ""), older, label="Versions"))

    # Actions

    async def create(self, ask: Ask) -> Done:
        """One of one key."""
        data = {ask.given("key"): ask.text("value")}
        made = self.holds(name=ask.given("name"), namespace=ask.given("namespace"), data=data)
        await self.call(ask, "create", **{self.word: made})
        return Done(said=f"{self.word.capitalize()} {made.name} is there.", to=self.at(made))

    async def set(self, ask: Ask) -> Done:
        """Set a key, or remove one."""
        gone = ask.given("gone")
        change = {"unset": [gone]} if gone else {"set": {ask.given("key"): ask.text("value")}}
        await self.call(ask, "patch", **_where(ask), **change)
        return Done(said="Changed: it is a new version.")

    async def roll_back(self, ask: Ask) -> Done:
        """An earlier version as the newest."""
        version = ask.number("version")
        await self.call(ask, "rollback", **_where(ask), to_version=version)
        return Done(said=f"The newest version says what version {version} said.")

    async def delete(self, ask: Ask) -> Done:
        """For good."""
        await self.call(ask, "delete", **_where(ask))
        return Done(said=f"The {self.word} is deleted.", to=f"/{self.many}")

    # The book

    def pages(self) -> tuple[Page, ...]:
        """The list and the page of one."""
        kinds = frozenset({self.word, f"{self.word}-version"})
        return (
            Page(path=f"/{self.many}", show=self.show, rows=self.rows, watches=kinds),
            Page(path=f"/{self.many}/{{namespace}}/{{name}}", show=self.one, watches=kinds),
        )

    def actions(self) -> tuple[Action, ...]:
        """What their forms do."""
        item = f"/{self.many}/{{namespace}}/{{name}}"
        return (
            Action(path=f"/{self.many}/create", act=self.create),
            Action(path=f"{item}/set", act=self.set),
            Action(path=f"{item}/rollback", act=self.roll_back),
            Action(path=f"{item}/delete", act=self.delete),
        )


def _where(ask: Ask) -> dict[str, str]:
    return {"name": ask.values["name"], "namespace": ask.values["namespace"]}


def _pair() -> tuple[Markup, Markup]:
    """A key, and a value that nobody reads over a shoulder."""
    area = el(
        "textarea", name="value", rows=2, autocomplete="off", spellcheck="false", maxlength=65536,
        class_="private",
    )  # fmt: skip
    return field("key", "Key", required=True, maxlength=253), el("label", el("span", "Value"), area)


def _secret_keys(each: Secret) -> Sequence[str]:
    return each.data_keys


def _configmap_keys(each: Configmap) -> Sequence[str]:
    return list(each.data)


NOUNS: Final = (
    Noun(
        word="secret", api=secrets, holds=Secret, keys=_secret_keys,
        hint="A secret is sealed, and reaches services as files or variables. This page never shows a value.",
        command="rune create secret db --prompt password",
    ),
    Noun(
        word="configmap", api=configmaps, holds=Configmap, keys=_configmap_keys,
        hint="A configmap holds plain settings that services get as variables, or as files that change live.",
        command="rune create configmap web --data colour=blue",
    ),
)  # fmt: skip
LINKS: Final = tuple(
    Link(path=f"/{noun.many}", label=noun.many.capitalize(), needs=noun.api.list_) for noun in NOUNS
)
PAGES: Final = tuple(page for noun in NOUNS for page in noun.pages())
ACTIONS: Final = tuple(action for noun in NOUNS for action in noun.actions())
