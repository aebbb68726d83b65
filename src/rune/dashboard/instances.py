"""Instances: the running copies, their logs as they come, and a terminal inside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from rune.api.common import PagingParams
from rune.api.orchestrator import exec as exec_api
from rune.api.orchestrator import instances as api
from rune.api.orchestrator import logs
from rune.api.orchestrator.instances import Instance
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import el, join
from rune.dashboard.parts import (
    PAGE,
    badge,
    button,
    choice,
    empty,
    facts,
    heading,
    link,
    long_table,
    path,
    row,
    short,
    when,
)  # fmt: skip
from rune.dashboard.terminal import COMMANDS
from rune.errors import PermissionDenied

LINKS: Final = (Link(path="/instances", label="Instances", needs=api.list_),)
COLUMNS: Final = ("Instance", "Service", "Status", "Ready", "Starts", "CPU", "Memory", "Since", "")
KINDS: Final = frozenset({"instance"})
MIB: Final = 1 << 20


async def show(ask: Ask) -> Screen:
    """All of them."""
    part = await rows(ask)
    nothing = empty(
        "No instances", "An instance is one running copy of a service. Cast a service, and they appear here."
    )
    listing = long_table(ask, COLUMNS, part, label="Instances") if part.rows else nothing
    return Screen(title="Instances", body=(heading("Instances"), listing))


async def rows(ask: Ask) -> Part:
    """Some of them."""
    paging = PagingParams(limit=PAGE, continuation_token=ask.query.get("cursor", ""))
    found = await ask.call(api.list_, api.ListInstancesRequest(namespace="*", paging=paging))
    cursor = found.paging.continuation_token if found.paging else ""
    return Part(rows=[instance_row(ask, each) for each in found.instances], cursor=cursor)


def instance_row(ask: Ask, each: Instance) -> Markup:
    """One copy, with the way to its logs and its terminal."""
    at = path("instances", each.namespace, each.id)
    ways = [link(f"{at}/logs", "Logs")] if ask.may(logs.get) else []
    if ask.may(exec_api.stream):
        ways += [link(f"{at}/terminal", "Terminal")]
    usage = each.usage
    return row(
        each.id,
        link(at, each.id),
        link(path("services", each.namespace, each.service_name), each.service_name),
        join(badge(short(each.status)), " ", el("span", each.status_message[:200], class_="dim")),
        badge("ready") if each.ready else "no",
        each.attempt,
        f"{usage.cpu_percent:.0f} %" if usage else "",
        f"{usage.mem_used_bytes // MIB} MiB" if usage else "",
        when(each.ready_since or each.created_at),
        el("span", *ways, class_="ways"),
        to=at,
    )


async def one(ask: Ask) -> Screen:
    """One of them."""
    each = await _instance(ask)
    exit_code = "none yet" if each.exit_code is None else str(each.exit_code)
    shown = facts((
        ("Status", join(badge(short(each.status)), " ", each.status_message)),
        ("Service", link(path("services", each.namespace, each.service_name), each.service_name)),
        ("Namespace", each.namespace),
        ("Ready", join("since ", when(each.ready_since)) if each.ready else "no"),
        ("Runner", each.runner),
        ("Pid", str(each.pid or "none")),
        ("Address", each.ip or "none"),
        ("Starts", str(each.attempt)),
        ("Last exit code", exit_code),
        ("Made", when(each.created_at)),
        ("Notes", "; ".join(each.notes) or "none"),
    ))  # fmt: skip
    return Screen(
        title=each.id, body=(heading(each.id, *_levers(ask, each), back=("/instances", "Instances")), shown)
    )


def _levers(ask: Ask, each: Instance) -> Iterable[Markup]:
    at = path("instances", each.namespace, each.id)
    if ask.may(logs.get):
        yield link(f"{at}/logs", "Logs", class_="button")
    if ask.may(exec_api.stream):
        yield link(f"{at}/terminal", "Terminal", class_="button")
    if ask.may(api.restart):
        yield button("Restart", f"{at}/restart", confirm=f"End {each.id} and start it again?")
        yield button("Stop", f"{at}/stop", confirm=f"Stop {each.id}? It stays stopped until it is started.")
        yield button("Start", f"{at}/start")


def log_screen(title: str, back: tuple[str, str], *, namespace: str, target: str) -> Screen:
    """A page of lines that goes on by itself."""
    at = f"/ui/logs{path(namespace, target)}"
    tools = el(
        "div",
        el(
            "label",
            el("span", "Only lines with"),
            el("input", type="search", data_filter=True, maxlength="200"),
        ),
        el("label", el("input", type="checkbox", checked=True, data_follow=True), el("span", "Follow")),
        el("button", "Clear", type="button", data_clear=True),
        el("span", "connecting …", role="status", data_state=True, class_="state dim"),
        class_="filters",
    )
    lines = el(
        "div", role="log", aria_label=title, tabindex="0", class_="lines", data_lines=True, aria_live="off"
    )
    return Screen(
        title=title, body=(heading(title, back=back), el("div", tools, lines, data_logs=at, data_keep=True))
    )


async def lines(ask: Ask) -> Screen:
    """What it writes, as it writes it."""
    namespace, name = ask.values["namespace"], ask.values["id"]
    return log_screen(
        f"Logs of {name}", (path("instances", namespace, name), name), namespace=namespace, target=name
    )


async def terminal(ask: Ask) -> Screen:
    """A shell inside it."""
    if not ask.may(exec_api.stream):
        raise PermissionDenied("running commands inside instances needs exec:exec")
    each = await _instance(ask)
    title = f"Terminal in {each.id}"
    at = f"/ui/exec{path(each.namespace, each.id)}"
    tools = el(
        "div",
        choice("command", "Command", {name: " ".join(words) for name, words in COMMANDS.items()}),
        el("button", "Connect", type="button", class_="primary", data_connect=True),
        el("span", "not connected", role="status", data_state=True, class_="state dim"),
        class_="filters",
    )
    screen = el(
        "div",
        class_="screen",
        tabindex="0",
        role="textbox",
        aria_label=title,
        aria_multiline="true",
        data_screen=True,
    )
    hint = el(
        "p",
        "Ctrl+Shift+Escape leaves the terminal with the keyboard. Everything run here is in the audit log.",
        class_="dim",
    )
    return Screen(
        title=title,
        body=(
            heading(title, back=(path("instances", each.namespace, each.id), each.id)),
            el("div", tools, screen, hint, data_terminal=at, data_keep=True),
        ),
    )


async def _instance(ask: Ask) -> Instance:
    asked = api.GetInstanceRequest(id=ask.values["id"], namespace=ask.values["namespace"])
    return (await ask.call(api.get, asked)).instance or Instance()


async def restart(ask: Ask) -> Done:
    """End it and start it again."""
    await ask.call(api.restart, _action(ask))
    return Done(said=f"{ask.values['id']} is being restarted.")


async def stop(ask: Ask) -> Done:
    """Stop it."""
    await ask.call(api.stop, _action(ask))
    return Done(said=f"{ask.values['id']} is being stopped.")


async def start(ask: Ask) -> Done:
    """Start it."""
    await ask.call(api.start, _action(ask))
    return Done(said=f"{ask.values['id']} is being started.")


def _action(ask: Ask) -> api.InstanceActionRequest:
    return api.InstanceActionRequest(id=ask.values["id"], namespace=ask.values["namespace"])


_ITEM: Final = "/instances/{namespace}/{id}"
PAGES: Final = (
    Page(path="/instances", show=show, rows=rows, watches=KINDS, is_shared=True),
    Page(path=_ITEM, show=one, watches=KINDS),
    Page(path=f"{_ITEM}/logs", show=lines),
    Page(path=f"{_ITEM}/terminal", show=terminal),
)
ACTIONS: Final = (
    Action(path=f"{_ITEM}/restart", act=restart),
    Action(path=f"{_ITEM}/stop", act=stop),
    Action(path=f"{_ITEM}/start", act=start),
)
