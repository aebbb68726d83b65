"""The book: all pages and actions, found by their paths, and failures shown as pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from rune.dashboard import (
    access,
    account,
    agents,
    alerts,
    approvals,
    audit,
    configs,
    deletions,
    events,
    instances,
    keys,
    loggedin,
    namespaces,
    nodes,
    organizations,
    overview,
    policies,
    registries,
    search,
    services,
    suite,
    webhooks,
)  # fmt: skip
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.shell import trouble
from rune.errors import NotFound, PermissionDenied, ResourceExhausted, RuneError, Unauthenticated
from rune.server.routes import Match, Routes

PARTS: Final = (
    overview, services, instances, agents, alerts, approvals, events, policies, suite, configs, namespaces,
    nodes, keys, access, audit, search, webhooks, organizations, registries, deletions, loggedin, account,
)  # fmt: skip
MENU: Final[Mapping[str, tuple[Link, ...]]] = {
    "Rune": overview.LINKS,
    "Run": (
        *services.LINKS, *instances.LINKS, *deletions.LINKS, *configs.LINKS, *registries.LINKS,
        *namespaces.LINKS, *nodes.LINKS,
    ),
    "Guard": (
        *agents.LINKS, *alerts.LINKS, *approvals.LINKS, *events.LINKS, *policies.LINKS, *webhooks.LINKS,
    ),
    "Settings": (
        *keys.LINKS, *access.LINKS, *loggedin.LINKS, *organizations.LINKS, *audit.LINKS,
    ),
}  # fmt: skip


class Book:
    """What there is to see and to do."""

    def __init__(self, pages: Iterable[Page], actions: Iterable[Action]) -> None:
        self._pages: Routes[Page] = Routes()
        self._actions: Routes[Action] = Routes()
        self._names: dict[str, list[str]] = {}
        for page in pages:
            self._pages.add("GET", page.path, page)
            self._names[page.path] = _names(page.path)
        for action in actions:
            self._actions.add("POST", action.path, action)
            self._names[action.path] = _names(action.path)

    def knows(self, path: str) -> bool:
        """There is a page at the path."""
        return self._page(path) is not None

    def watches(self, path: str) -> frozenset[str]:
        """The kinds that the page at a path shows; none where there is no page."""
        found = self._page(path)
        return found[0].watches if found else frozenset()

    def is_shared(self, path: str) -> bool:
        """All who may do the same see the same at the path."""
        found = self._page(path)
        return found is not None and found[0].is_shared

    async def draw(self, ask: Ask) -> Screen:
        """The page at a path, or what is wrong with it; raises Unauthenticated when the session is over."""
        try:
            return await self.show(ask)
        except Unauthenticated:
            raise
        except RuneError as failure:
            return trouble(_title(failure), failure.message)

    async def show(self, ask: Ask) -> Screen:
        """The page at a path; raises what is wrong with it."""
        found = self._page(ask.path)
        if found is None:
            raise NotFound(f"There is no page at {ask.path.partition('?')[0]}.")
        page, values = found
        return await page.show(replace(ask, values=values))

    async def rows(self, ask: Ask) -> Part:
        """Further rows of a page's table."""
        found = self._page(ask.path)
        if found is None or found[0].rows is None:
            raise NotFound("there is no such table")
        page, values = found
        assert page.rows  # noqa: S101 - looked at above
        return await page.rows(replace(ask, values=values))

    async def act(self, ask: Ask) -> Done:
        """Do what the form at the path does."""
        path = ask.path.partition("?")[0]
        match = self._actions.find(path)
        if match is None:
            raise NotFound("there is no such action")
        action = match.methods["POST"]
        return await action.act(replace(ask, values=self._values(action.path, match)))

    def _page(self, path: str) -> tuple[Page, Mapping[str, str]] | None:
        match = self._pages.find(path.partition("?")[0])
        if match is None:
            return None
        page = match.methods["GET"]
        return page, self._values(page.path, match)

    def _values(self, template: str, match: Match[Page] | Match[Action]) -> Mapping[str, str]:
        return dict(zip(self._names[template], map(unquote, match.values), strict=True))


def whole() -> Book:
    """Every page of the dashboard."""
    return Book(
        (page for part in PARTS for page in part.PAGES),
        (action for part in PARTS for action in part.ACTIONS),
    )


def _names(template: str) -> list[str]:
    return [segment[1:-1] for segment in template.split("/") if segment.startswith("{")]


def _title(failure: RuneError) -> str:
    named: Sequence[tuple[type[RuneError], str]] = (
        (PermissionDenied, "Not for you"),
        (NotFound, "Not found"),
        (ResourceExhausted, "Too much at once"),
    )
    return next((title for kind, title in named if isinstance(failure, kind)), "This did not work")
