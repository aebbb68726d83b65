"""One's own account: who one is here, what one may do, and the own password."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import auth, sessions
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import facts, form, heading, link, section
from rune.errors import InvalidArgument, Violation

PATH: Final = "/settings/account"
LINKS: Final[tuple[Link, ...]] = ()
"""None in the menu: the name below it leads here."""


async def show(ask: Ask) -> Screen:
    """Who one is, and the form for another password."""
    who = await ask.call(auth.whoami, auth.WhoAmIRequest())
    shown = facts((
        ("Name", who.subject_name),
        ("Grants", ", ".join(who.policies) or "none"),
        ("Sessions", link("/settings/sessions", "Where you are logged in")),
    ))  # fmt: skip
    password = section("Password", _hint(), _change())
    return Screen(title="Your account", body=(heading("Your account"), shown, password))


def _hint() -> Markup:
    words = "Your other sessions that began with a password end. Who logs in with a token alone has none."
    return el("p", words, class_="dim")


def _change() -> Markup:
    return form(
        "/account/password",
        _secret("old", "Old password", "current-password"),
        _secret("new", "New password", "new-password"),
        _secret("again", "New password, again", "new-password"),
        press="Change password",
    )


def _secret(name: str, label: str, what: str) -> Markup:
    box = el("input", name=name, type="password", required=True, maxlength=1024, autocomplete=what)
    return el("label", el("span", label), box)


async def change_password(ask: Ask) -> Done:
    """Typed twice, lest a slip locks somebody out."""
    old, new, again = (next(iter(ask.every(name)), "") for name in ("old", "new", "again"))
    if new != again:
        raise InvalidArgument.of([Violation("again", "is not the same as the new password")])
    asked = sessions.ChangePasswordRequest(old_password=old, new_password=new)
    ended = (await ask.call(sessions.change_password, asked)).sessions
    more = f" {ended} other sessions ended." if ended else ""
    return Done(said=f"Your password is changed.{more}", to=PATH)


PAGES: Final = (Page(path=PATH, show=show),)
ACTIONS: Final = (Action(path="/account/password", act=change_password),)
