"""What several pages show alike: tables, badges, buttons, forms, and words for where there is nothing yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from markupsafe import Markup

from rune.dashboard.ask import Ask, Part
from rune.dashboard.html import Node, el, join

PAGE = 100
"""Rows that a table has at first, and gets at a time while it is scrolled."""

DO = "/ui/do"
"""Where actions are, before their own paths."""
LONG = 40
"""Characters past which a fact gets more room."""

COLOURS: Mapping[str, str] = {
    "critical": "bad", "high": "bad", "failed": "bad", "quarantined": "bad", "denied": "bad",
    "blocked": "bad", "revoked": "bad", "unhealthy": "bad",
    "medium": "warn", "investigating": "warn", "open": "warn", "pending": "warn", "updating": "warn",
    "starting": "warn", "deploying": "warn", "stopping": "warn", "degraded": "warn", "expired": "warn",
    "flagged": "warn",
    "running": "good", "active": "good", "ready": "good", "healthy": "good", "resolved": "good", "ok": "good",
    "approved": "good", "current": "good", "good": "good", "success": "good", "allowed": "good",
}  # fmt: skip


def path(*segments: str, **query: str) -> str:
    """A path of ours; what comes from elsewhere is quoted, and empty queries are left out."""
    asked = urlencode({key: value for key, value in query.items() if value})
    return "/" + "/".join(quote(segment, safe="") for segment in segments) + (f"?{asked}" if asked else "")


def link(to: str, /, *label: Node, **attributes: str | None) -> Markup:
    """A link to another page of ours."""
    return el("a", *label, href=to, **attributes)


def heading(title: str, *beside: Node, back: tuple[str, str] | None = None) -> Markup:
    """The page's name, the way back, and what can be done here."""
    way = el("p", link(back[0], f"← {back[1]}"), class_="back") if back else None
    return el(
        "header", way, el("h1", title, tabindex="-1"), el("div", *beside, class_="actions"), class_="head"
    )


def badge(word: str) -> Markup:
    """A word for how something is; its colour repeats what the word says."""
    plain = word.lower().replace("_", " ")
    return el("span", plain, class_=f"badge {COLOURS.get(word.lower(), '')}".strip())


def short(enum: str) -> str:
    """The last word of a name on the wire: SERVICE_STATUS_RUNNING is running."""
    return enum.rpartition("_")[2].lower()


def when(moment: datetime | None) -> Markup:
    """A time; the browser says how long ago that was."""
    if moment is None:
        return el("span", "never", class_="dim")
    shown = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return el("time", shown, datetime=moment.isoformat(timespec="milliseconds"), title=shown)


def section(title: str, *children: Node, id: str = "", beside: Node = None) -> Markup:
    """A part of a page under its own heading."""
    return el("section", el("div", el("h2", title), beside, class_="head2"), *children, id=id or None)


def empty(title: str, words: str, command: str = "") -> Markup:
    """Where there is nothing yet: what would stand here, and how to make one."""
    shown = el("pre", el("code", command), tabindex="0") if command else None
    return el("div", el("h3", title), el("p", words), shown, class_="empty")


def table(columns: Sequence[str], rows: Iterable[Markup], *, label: str) -> Markup:
    """A table whose rows are all there."""
    head = el("thead", el("tr", map(_column, columns)))
    whole = el("table", head, el("tbody", rows), aria_label=label)
    return el("div", whole, class_="table", tabindex="0", role="region", aria_label=label)


def _column(name: str) -> Markup:
    return el("th", name or el("span", "Actions", class_="hidden"), scope="col")


def long_table(ask: Ask, columns: Sequence[str], part: Part, *, label: str, group: str = "") -> Markup:
    """A table that brings its rows as it is scrolled, and holds only those in view."""
    head = el("thead", el("tr", map(_column, columns)))
    whole = el(
        "table", head, chunk(part), aria_label=label, data_long=ask.path, data_cursor=part.cursor or None
    )
    return el("div", whole, class_="table", tabindex="0", role=group or "region", aria_label=label)


def chunk(part: Part) -> Markup:
    """The rows that come at a time."""
    return el("tbody", part.rows, data_next=part.cursor)


def row(key: str, *cells: Node, to: str = "") -> Markup:
    """A row; the key tells it from others when the table changes."""
    return el("tr", (el("td", cell) for cell in cells), data_key=key, data_to=to or None)


def facts(pairs: Iterable[tuple[str, Node]]) -> Markup:
    """Names and what they are; what is long gets more room."""
    return el("dl", (_fact(name, value) for name, value in pairs), class_="facts")


def _fact(name: str, value: Node) -> Markup:
    is_long = isinstance(value, str) and not isinstance(value, Markup) and len(value) > LONG
    return el("div", el("dt", name), el("dd", value), class_="wide" if is_long else None)


def tiles(pairs: Iterable[tuple[str, Node, str, str]]) -> Markup:
    """Numbers at a glance: what, how many, the page that tells more, and `bad` or `warn` where it matters."""
    shown = (link(to, el("strong", value), el("span", name), data_is=how) for name, value, to, how in pairs)
    return el("nav", shown, class_="tiles", aria_label="At a glance")


def chart(points: Sequence[int], label: str, ends: tuple[str, str], *, over: Sequence[int] = ()) -> Markup:
    """Numbers over time as bars, `over` upon them; the label says it in words, `ends` from when to when."""
    return el(
        "figure",
        el("figcaption", label),
        spark(points, label, over=over),
        el("div", el("span", ends[0]), el("span", ends[1]), class_="from", aria_hidden="true"),
        class_="chart",
    )


def spark(points: Sequence[int], label: str, *, over: Sequence[int] = ()) -> Markup:
    """Small bars of numbers over time, and nothing else."""
    top = max([*points, 1])
    bars = (el("path", d=_bars(points, top)), el("path", d=_bars(over, top), class_="bad") if over else None)
    return el(
        "svg", el("title", label), bars, role="img", aria_label=label,
        viewBox=f"0 0 {max(len(points), 1) * 10} 40", preserveAspectRatio="none", class_="spark",
    )  # fmt: skip


def _bars(points: Sequence[int], top: int) -> str:
    """A bar for each number; one for every number that is not nothing is at least seen."""
    heights = [max(40 * value / top, 1.5) if value else 0 for value in points]
    return "".join(
        f"M{place * 10 + 1} 40v{-height:.1f}h8V40z" for place, height in enumerate(heights) if height
    )


def button(label: str, to: str, /, *, confirm: str = "", kind: str = "", **hidden: str) -> Markup:
    """A button that does something at once, or after a question."""
    fields = (el("input", type="hidden", name=name, value=value) for name, value in hidden.items())
    press = el("button", label, type="submit", class_=kind or None)
    return el(
        "form", fields, press, method="post", action=f"{DO}{to}", class_="one", data_confirm=confirm or None
    )


def form(to: str, *children: Node, press: str, kind: str = "", confirm: str = "") -> Markup:
    """Fields and the button that sends them."""
    sends = el("div", el("button", press, type="submit", class_="primary"), class_="sends")
    return el(
        "form", children, sends, method="post", action=f"{DO}{to}", class_=f"form {kind}".strip(),
        data_confirm=confirm or None,
    )  # fmt: skip


def field(name: str, label: str, /, **attributes: str | int | bool | None) -> Markup:
    """A line to type in, with its label."""
    return el("label", el("span", label), el("input", name=name, autocomplete="off", **attributes))


def choice(  # noqa: PLR0917 - as a form reads: its name, its label, what there is, what it is
    name: str, label: str, options: Mapping[str, str], chosen: str = ""
) -> Markup:
    """One of several."""
    every = (el("option", shown, value=key, selected=key == chosen) for key, shown in options.items())
    return el("label", el("span", label), el("select", every, name=name))


def filters(to: str, *children: Node) -> Markup:
    """Fields that narrow a list as soon as they change."""
    press = el("button", "Apply", type="submit")
    return el(
        "form",
        children,
        press,
        method="get",
        action=to,
        class_="filters",
        role="search",
        aria_label="Narrow the list",
    )


def folded(label: str, *children: Node) -> Markup:
    """What is shown when it is asked for."""
    return el("details", el("summary", label), *children)


def tabs(chosen: str, pairs: Iterable[tuple[str, str, str]], label: str) -> Markup:
    """Places of one page; each with its key, its path and its name."""
    links = (link(to, name, aria_current="page" if key == chosen else "") for key, to, name in pairs)
    return el("nav", links, class_="tabs", aria_label=label)


def text(content: str, *, label: str) -> Markup:
    """Text of somebody else's, as it is."""
    return el("pre", el("code", content), tabindex="0", role="region", aria_label=label)


def secret(name: str, value: str) -> Markup:
    """Something that is shown this once."""
    return join(
        el("p", f"This is the only time that the {name} is shown. Copy it now."),
        el("pre", el("code", value), tabindex="0", class_="once"),
    )
