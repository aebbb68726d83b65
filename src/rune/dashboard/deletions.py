"""Deletions: services that are going, how far they are, and what to do about one that is stuck."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import deletions as api
from rune.api.orchestrator.deletions import DeletionOperation
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import badge, button, empty, heading, path, row, table, when

LINKS: Final = (Link(path="/deletions", label="Deletions", needs=api.list_),)
COLUMNS: Final = ("Service", "State", "Copies ended", "Steps", "Waits for", "Begun", "Ended", "")
MOST: Final = 1000
"""Deletions that are shown, the newest; they are forgotten an hour after their end."""


async def show(ask: Ask) -> Screen:
    """Those under way, and those of the last hour."""
    found = (await ask.call(api.list_, api.ListDeletionOperationsRequest(namespace="*"))).operations
    rows = (_row(ask, each) for each in found[:MOST])
    listing = table(COLUMNS, rows, label="Deletions") if found else _nothing()
    return Screen(title="Deletions", body=(heading("Deletions"), listing))


def _nothing() -> Markup:
    return empty(
        "No deletions",
        "A service that is deleted stands here while its copies end, and for an hour after. One that does "
        "not come to its end says what holds it up, and can be tried again or cleared.",
        "rune delete web\nrune delete status web",
    )


def _row(ask: Ask, each: DeletionOperation) -> Markup:
    steps = [
        el("li", f"{step.type or step.name} ", badge(step.status), f" {step.error}" if step.error else None)
        for step in each.finalizers
    ]
    name = f"{each.namespace}/{each.service_name}"
    ended = f"{each.deleted_instances} of {each.total_instances}"
    lost = f", {each.failed_instances} did not" if each.failed_instances else ""
    return row(
        each.id, name, badge(each.status), ended + lost,
        el("ul", steps, class_="rules") if steps else "none",
        each.failure_reason or ", ".join(each.pending_operations) or "nothing",
        when(each.start_time), when(each.end_time), _levers(ask, each),
    )  # fmt: skip


def _levers(ask: Ask, each: DeletionOperation) -> Markup | None:
    if each.status == "completed" or each.end_time is not None:
        return None
    levers: list[Markup] = []
    at = ("deletions", each.namespace, each.id)
    if ask.may(api.retry):
        levers.append(button("Try again", path(*at, "retry")))
    if ask.may(api.force):
        asked = f"Forget {each.service_name} without waiting for its copies? What still runs, runs on unseen."
        levers.append(button("Clear", path(*at, "force"), confirm=asked, kind="danger"))
    return el("span", *levers, class_="ways")


async def retry(ask: Ask) -> Done:
    """At once, and kill what does not end by itself."""
    asked = api.RetryDeletionRequest(namespace=ask.values["namespace"], name=ask.values["id"])
    await ask.call(api.retry, asked)
    return Done(said="The deletion is tried again.")


async def force(ask: Ask) -> Done:
    """The service is forgotten."""
    asked = api.ForceDeletionRequest(namespace=ask.values["namespace"], name=ask.values["id"])
    await ask.call(api.force, asked)
    return Done(said="The deletion is cleared.")


PAGES: Final = (Page(path="/deletions", show=show, watches=frozenset({"deletion", "instance"})),)
ACTIONS: Final = (
    Action(path="/deletions/{namespace}/{id}/retry", act=retry),
    Action(path="/deletions/{namespace}/{id}/force", act=force),
)
