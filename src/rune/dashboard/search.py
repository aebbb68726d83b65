"""Search: whatever has the words in its name, among what the reader may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from markupsafe import Markup

from rune.api import Operation
from rune.api.orchestrator import configmaps, instances, namespaces, secrets, services
from rune.api.security import agents, alerts, policies
from rune.dashboard.ask import Action, Ask, Link, Page, Screen
from rune.dashboard.parts import empty, field, filters, heading, link, path, row, section, table

LINKS: Final[tuple[Link, ...]] = ()
MOST: Final = 50
"""Of each kind that are shown."""
PAGES_READ: Final = 10
"""Pages of 200 that are looked through where the server has no filter by name."""
Found = list[tuple[str, str]]


async def show(ask: Ask) -> Screen:
    """What was found, kind by kind."""
    words = ask.query.get("q", "").strip().lower()[:100]
    again = filters("/search", field("q", "Search", value=words, type="search", maxlength=100))
    body: list[Markup | None] = [heading("Search"), again]
    if words:
        groups = [
            ("Services", await _everywhere(ask, "services", services.list_)),
            ("Instances", await _everywhere(ask, "instances", instances.list_)),
            ("Secrets", await _everywhere(ask, "secrets", secrets.list_)),
            ("Configmaps", await _everywhere(ask, "configmaps", configmaps.list_)),
            ("Namespaces", await _namespaces(ask)),
            ("Agents", await _agents(ask)),
            ("Alerts", await _alerts(ask)),
            ("Policies", await _policies(ask)),
        ]
        shown = [_group(name, found, words) for name, found in groups]
        body += (
            shown
            if any(shown)
            else [empty("Nothing found", "Search looks at names and titles, not into logs or events.")]
        )
    else:
        body.append(
            empty("Search", "Type part of the name of a service, an agent, a policy or anything else.")
        )
    return Screen(title="Search", body=body)


def _group(name: str, found: Iterable[tuple[str, str]], words: str) -> Markup | None:
    hits = [(at, label) for at, label in found if words in label.lower()][:MOST]
    rows = [row(at, link(at, label), to=at) for at, label in hits]
    return section(name, table(("Name",), rows, label=name)) if rows else None


async def _everywhere(ask: Ask, noun: str, operation: Operation[Any, Any]) -> Found:
    """What a list over all namespaces has."""
    if not ask.may(operation):
        return []
    answer = await ask.call(operation, operation.request(namespace="*"))
    items: Sequence[Any] = getattr(answer, noun)
    return [(path(noun, each.namespace, each.name), f"{each.namespace}/{each.name}") for each in items]


async def _namespaces(ask: Ask) -> Found:
    if not ask.may(namespaces.list_):
        return []
    found = await ask.call(namespaces.list_, namespaces.ListNamespacesRequest())
    return [("/namespaces", each.name) for each in found.namespaces]


async def _agents(ask: Ask) -> Found:
    hits: Found = []
    cursor = ""
    for _ in range(PAGES_READ if ask.may(agents.list_) else 0):
        found = await ask.call(agents.list_, agents.ListAgentsRequest(limit=200, cursor=cursor))
        hits += [
            (path("agents", each.agent_id), f"{each.agent_id} {each.name}".strip()) for each in found.agents
        ]
        if not (cursor := found.next_cursor or ""):
            break
    return hits


async def _alerts(ask: Ask) -> Found:
    if not ask.may(alerts.list_):
        return []
    found = await ask.call(alerts.list_, alerts.ListAlertsRequest(status="all", limit=200))
    return [(path("alerts", each.id), each.title) for each in found.alerts]


async def _policies(ask: Ask) -> Found:
    if not ask.may(policies.list_):
        return []
    found = await ask.call(policies.list_, policies.ListPoliciesRequest(include_inactive=True, limit=200))
    return [(path("policies", each.id), each.name) for each in found.policies]


PAGES: Final = (Page(path="/search", show=show),)
ACTIONS: Final[tuple[Action, ...]] = ()
