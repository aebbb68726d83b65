"""Nodes: the machines that workloads run on, what they have and what they can enforce."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import health as api
from rune.dashboard.ask import Action, Ask, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import badge, facts, heading, row, section, short, table, when

LINKS: Final = (Link(path="/nodes", label="Nodes", needs=api.get),)
GIB: Final = 1 << 30


async def show(ask: Ask) -> Screen:
    """Each with what was checked on it."""
    asked = api.GetHealthRequest(component_type="node", namespace="*", include_checks=True)
    found = (await ask.call(api.get, asked)).components
    server = await ask.call(api.version, api.GetServerVersionRequest())
    about = facts((
        ("Rune", server.version),
        ("System", f"{server.os} {server.arch}"),
        ("State", badge("ready" if server.ready else "pending")),
    ))  # fmt: skip
    return Screen(title="Nodes", body=(heading("Nodes"), about, *map(_node, found)))


def _node(each: api.ComponentHealth) -> Markup:
    has = each.resources
    shown = facts((
        ("Status", badge(short(each.status))),
        ("Message", each.message or "none"),
        ("CPU", f"{has.cpu_used_percent:.0f} % of {has.cpu_cores:g} cores" if has else "unknown"),
        ("Memory", _memory(has) if has else "unknown"),
        ("Seen", when(each.timestamp)),
    ))  # fmt: skip
    checks = [
        row(str(place), badge(short(check.status)), check.message)
        for place, check in enumerate(each.check_results)
    ]
    listed = (
        table(("State", "Check"), checks, label="Checks") if checks else el("p", "No checks.", class_="dim")
    )
    return section(each.name or each.id, shown, listed)


def _memory(has: api.NodeResources) -> str:
    return f"{has.mem_used_bytes / GIB:.1f} of {has.mem_total_bytes / GIB:.1f} GiB"


PAGES: Final = (Page(path="/nodes", show=show, watches=frozenset({"instance"})),)
ACTIONS: Final[tuple[Action, ...]] = ()
