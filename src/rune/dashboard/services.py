"""Services: how they are, how far a rollout is, and the levers: scale, restart, roll back, delete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from markupsafe import Markup

from rune.api import wirejson
from rune.api.common import PagingParams
from rune.api.orchestrator import logs, revisions
from rune.api.orchestrator import services as api
from rune.api.orchestrator.services import Service
from rune.dashboard import instances
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el, join
from rune.dashboard.parts import (
    PAGE,
    badge,
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
    short,
    table,
    text,
    when,
)  # fmt: skip

LINKS: Final = (Link(path="/services", label="Services", needs=api.list_),)
COLUMNS: Final = ("Service", "Namespace", "Status", "Copies", "Runs", "Address", "Changed")
KINDS: Final = frozenset({"service", "instance"})
FILE: Final = """\
service:
  name: web
  scale: 1
  process:
    command: python3
    args: ["-m", "http.server", "8080"]"""


def nothing() -> Markup:
    """Where there is no service yet."""
    return empty(
        "No services yet",
        "A service is a program that Rune keeps running, as many copies of it as you say. "
        "Write this to web.yaml, and run: rune cast web.yaml",
        FILE,
    )


async def show(ask: Ask) -> Screen:
    """All of them."""
    part = await rows(ask)
    listing = long_table(ask, COLUMNS, part, label="Services") if part.rows else nothing()
    return Screen(title="Services", body=(heading("Services"), listing))


async def rows(ask: Ask) -> Part:
    """Some of them."""
    paging = PagingParams(limit=PAGE, continuation_token=ask.query.get("cursor", ""))
    found = await ask.call(api.list_, api.ListServicesRequest(namespace="*", paging=paging))
    cursor = found.paging.continuation_token if found.paging else ""
    return Part(rows=[_row(each) for each in found.services], cursor=cursor)


def short_table(found: Iterable[Service]) -> Markup:
    """A few of them."""
    return table(COLUMNS, map(_row, found), label="Services")


def _row(service: Service) -> Markup:
    at = path("services", service.namespace, service.name)
    state = service.metadata
    return row(
        f"{service.namespace}/{service.name}",
        link(at, service.name),
        service.namespace,
        join(badge(short(service.status)), " ", el("span", service.status_message[:200], class_="dim")),
        _copies(service),
        service.image or service.runtime,
        service.address,
        when(state.updated_at if state else None),
        to=at,
    )


def _copies(service: Service) -> Markup:
    update = service.update
    if update is None:
        return join(f"{service.scale}")
    shown = f"{update.available} of {service.scale}"
    if update.updated >= update.desired and not update.outdated:
        return join(shown)
    return join(shown, " ", _progress(update))


def _progress(update: api.UpdateStatus) -> Markup:
    label = f"rollout: {update.updated_ready} of {update.desired} copies are new and ready"
    return el("progress", label, value=update.updated_ready, max=max(update.desired, 1), aria_label=label)


async def one(ask: Ask) -> Screen:
    """One, with its copies and what it was before."""
    namespace, name = _names(ask)
    found = (
        await ask.call(api.get, api.GetServiceRequest(name=name, namespace=namespace))
    ).service or Service(name=name)
    body = (
        heading(name, *_levers(ask, found), back=("/services", "Services")),
        _facts(found),
        _scaling(ask, found),
        _copies_of(ask, found),
        await _revisions(ask, found),
        folded("Spec", text(_spec(found), label="Spec")),
    )
    return Screen(title=name, body=body)


def _levers(ask: Ask, found: Service) -> Iterable[Markup]:
    at = path("services", found.namespace, found.name)
    if ask.may(logs.get):
        yield link(f"{at}/logs", "Logs", class_="button")
    if ask.may(api.restart):
        yield button("Restart", f"{at}/restart", confirm=f"Replace every copy of {found.name}?")
    if ask.may(revisions.rollback):
        yield button("Roll back", f"{at}/rollback", confirm=f"Make {found.name} again what it was before?")
    if ask.may(api.delete):
        asked = f"Delete {found.name}? Its copies end, and it is gone."
        yield button("Delete", f"{at}/delete", confirm=asked, kind="danger")


def _facts(found: Service) -> Markup:
    update, exposure = found.update, found.exposure
    return facts((
        ("Status", join(badge(short(found.status)), " ", found.status_message)),
        ("Namespace", found.namespace),
        ("Copies", join(_copies(found), f" (wanted: {found.scale})")),
        ("Rollout", _rollout(update) if update else "none"),
        ("Runs", found.image or _command(found)),
        ("Address", found.address or "none"),
        ("Exposed at", exposure.address if exposure else "nowhere"),
        ("Waits for", ", ".join(each.service for each in found.dependencies) or "nothing"),
    ))  # fmt: skip


def _rollout(update: api.UpdateStatus) -> Markup:
    count = f" {update.updated_ready} of {update.desired} new and ready "
    return join(_progress(update), count, el("span", update.message, class_="dim"))


def _command(found: Service) -> str:
    return " ".join([found.process.command, *found.process.args])[:500] if found.process else ""


def _scaling(ask: Ask, found: Service) -> Markup | None:
    if not ask.may(api.scale):
        return None
    at = path("services", found.namespace, found.name, "scale")
    scale = field("scale", "Copies", type="number", min=0, max=10000, value=found.scale, required=True)
    return form(at, scale, press="Scale", kind="line")


def _copies_of(ask: Ask, found: Service) -> Markup:
    if not found.instances:
        return section("Instances", empty("No copies", "Scale it up, and its copies appear here."))
    rows = (instances.instance_row(ask, each) for each in found.instances)
    return section("Instances", table(instances.COLUMNS, rows, label="Instances"))


async def _revisions(ask: Ask, found: Service) -> Markup | None:
    if not ask.may(revisions.list_):
        return None
    asked = revisions.ListRevisionsRequest(name=found.name, namespace=found.namespace)
    kept = (await ask.call(revisions.list_, asked)).revisions

    def levers(each: revisions.Revision) -> Markup | None:
        if each.state is revisions.RevisionState.CURRENT or not ask.may(revisions.rollback):
            return None
        to = path("services", found.namespace, found.name, "rollback")
        asked = f"Make {found.name} again what it was at revision {each.number}?"
        return button(f"Back to {each.number}", to, confirm=asked, to=str(each.number))

    rows = (
        row(
            str(each.number), each.number, badge(short(each.state)), each.instances, when(each.created_at),
            each.note, levers(each),
        )
        for each in kept
    )  # fmt: skip
    columns = ("Revision", "State", "Copies", "Made", "Note", "")
    return section("Revisions", table(columns, rows, label="Revisions"))


def _spec(found: Service) -> str:
    """As JSON, without what was observed and without the values of variables: they may be private."""
    hidden = msgspec.structs.replace(found, env=dict.fromkeys(found.env, "•••"), instances=[])
    plain = msgspec.json.decode(wirejson.encode(hidden))
    return msgspec.json.format(msgspec.json.encode(plain)).decode()


async def lines(ask: Ask) -> Screen:
    """What its copies write, as they write it."""
    namespace, name = _names(ask)
    back = path("services", namespace, name)
    return instances.log_screen(f"Logs of {name}", (back, name), namespace=namespace, target=name)


async def scale(ask: Ask) -> Done:
    """Set how many copies run."""
    namespace, name = _names(ask)
    wanted = ask.number("scale", -1)
    await ask.call(api.scale, api.ScaleServiceRequest(name=name, namespace=namespace, scale=wanted))
    return Done(said=f"{name} is being scaled to {wanted}.")


async def restart(ask: Ask) -> Done:
    """Replace every copy."""
    namespace, name = _names(ask)
    await ask.call(api.restart, api.RestartServiceRequest(name=name, namespace=namespace))
    return Done(said=f"{name} is being restarted.")


async def rollback(ask: Ask) -> Done:
    """What it was before, or at a revision."""
    namespace, name = _names(ask)
    asked = revisions.RollbackServiceRequest(name=name, namespace=namespace, to=ask.number("to"))
    answer = await ask.call(revisions.rollback, asked)
    return Done(said=f"{name} is again what it was at revision {answer.to_revision}.")


async def delete(ask: Ask) -> Done:
    """End it."""
    namespace, name = _names(ask)
    await ask.call(api.delete, api.DeleteServiceRequest(name=name, namespace=namespace, detach=True))
    return Done(said=f"{name} is being deleted.", to="/services")


def _names(ask: Ask) -> tuple[str, str]:
    return ask.values["namespace"], ask.values["name"]


_ITEM: Final = "/services/{namespace}/{name}"
PAGES: Final = (
    Page(path="/services", show=show, rows=rows, watches=KINDS, is_shared=True),
    Page(path=_ITEM, show=one, watches=KINDS),
    Page(path=f"{_ITEM}/logs", show=lines),
)
ACTIONS: Final = (
    Action(path=f"{_ITEM}/scale", act=scale),
    Action(path=f"{_ITEM}/restart", act=restart),
    Action(path=f"{_ITEM}/rollback", act=rollback),
    Action(path=f"{_ITEM}/delete", act=delete),
)
