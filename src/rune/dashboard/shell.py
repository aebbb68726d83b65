"""What stands around every page: its head, the menu, and the headers that keep foreign script out."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from markupsafe import Markup

from rune.dashboard.ask import Ask, Link, Screen
from rune.dashboard.html import Node, el, join
from rune.dashboard.parts import heading, link

FOLDER: Final = Path(__file__).parent / "static"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types rune"
)
"""No inline script, no eval, nothing from elsewhere; and script may make HTML of our own answers alone."""
HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",  # without a referrer a browser says `Origin: null` when it sends a form
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
    "vary": "x-rune-part",
}


@cache
def files() -> dict[str, tuple[bytes, str, str]]:
    """The files that browsers get: content, type and a tag that changes with the content."""
    found: dict[str, tuple[bytes, str, str]] = {}
    for file in FOLDER.iterdir():
        data = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        found[file.name] = (data, kind, hashlib.sha256(data).hexdigest()[:16])
    return found


def _at(name: str) -> str:
    return f"/ui/static/{name}"


def document(title: str, *body: Node, theme: str = "", script: bool = True) -> str:
    """A whole page."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content=theme or "light dark"),
        el("title", f"{title} · Rune"),
        el("link", rel="icon", href=_at("rune.svg")),
        el("link", rel="stylesheet", href=_at("style.css")),
        el("script", type="module", src=_at("app.js")) if script else None,
    )
    themed = theme if theme in ("light", "dark") else None
    return Markup("<!doctype html>") + el("html", head, el("body", *body), lang="en", data_theme=themed)


def frame(ask: Ask, screen: Screen, menu: Mapping[str, tuple[Link, ...]], *, theme: str) -> str:
    """A page inside the menu."""
    return document(
        screen.title,
        el("a", "Skip to the content", href="#main", class_="skip"),
        el("aside", _brand(), _menu(ask, menu), _foot(ask), id="side"),
        el("main", inside(screen), id="main", data_tag=tag(inside(screen))),
        el("div", id="said", role="status", aria_live="polite"),
        el("div", id="lost", role="alert", hidden=True),
        theme=theme,
    )


def inside(screen: Screen) -> Markup:
    """What changes from page to page."""
    return join(*screen.body)


def tag(content: str) -> str:
    """Tells one content from another."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def trouble(title: str, words: str) -> Screen:
    """A page that cannot be shown, and why."""
    return Screen(title=title, body=(heading(title), el("p", words, class_="trouble")))


def mark() -> Markup:
    """Our sign, beside our name."""
    return el("img", src=_at("rune.svg"), alt="", width=24, height=24)


def _brand() -> Markup:
    toggle = el("button", "Menu", type="button", id="toggle", aria_expanded="false", aria_controls="menu")
    return el("div", link("/", mark(), "Rune", class_="brand"), toggle, class_="top")


def _menu(ask: Ask, menu: Mapping[str, tuple[Link, ...]]) -> Markup:
    def group(name: str, links: tuple[Link, ...]) -> Node:
        shown = [each for each in links if each.needs is None or ask.may(each.needs)]
        items = (el("li", link(each.path, each.label)) for each in shown)
        return (el("h2", name), el("ul", items)) if shown else None

    find = el(
        "form",
        el("label", el("span", "Search", class_="hidden"),
           el("input", type="search", name="q", placeholder="Search  ( / )", maxlength="100")),
        action="/search", method="get", role="search", class_="find",
    )  # fmt: skip
    return el(
        "nav", find, [group(name, links) for name, links in menu.items()], id="menu", aria_label="Pages"
    )


def _foot(ask: Ask) -> Markup:
    press = el("button", "Log out", type="submit")
    return el(
        "div",
        link("/settings/account", ask.name, class_="who", title="Your account"),
        el("button", "Theme", type="button", id="theme", title="Light or dark (t)"),
        el("button", "Keys", type="button", id="keys", title="What the keys do (?)"),
        el("form", press, method="post", action="/logout", data_plain=True),
        class_="foot",
    )
