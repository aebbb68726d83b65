"""Access: users, the tokens that speak for them, and the grants that say what they may do."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import admin, auth, users
from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import (
    badge,
    button,
    choice,
    empty,
    field,
    folded,
    form,
    heading,
    path,
    row,
    secret,
    table,
    when,
)  # fmt: skip
from rune.errors import InvalidArgument, Violation

LINKS: Final = (
    Link(path="/settings/tokens", label="Tokens", needs=admin.list_tokens),
    Link(path="/settings/users", label="Users", needs=admin.list_users),
    Link(path="/settings/grants", label="Grants", needs=admin.list_grants),
)
DAY: Final = 86_400
SPANS: Final = {"0": "never", "1": "in a day", "30": "in 30 days", "90": "in 90 days", "365": "in a year"}
WORDS: Final = 3


async def tokens(ask: Ask) -> Screen:
    """All tokens, without their texts."""
    found = (await ask.call(admin.list_tokens, admin.TokenListRequest())).tokens
    names = {each.id: each.name for each in (await ask.call(admin.list_users, admin.UserListRequest())).users}
    rows = (_token(ask, each, names.get(each.subject_id, each.subject_id)) for each in found)
    listing = table(("Token", "Of", "State", "Made", "Expires", "Last used", ""), rows, label="Tokens")
    fresh = folded("New token", form(
        "/tokens/create",
        field("subject", "User", required=True, maxlength=63),
        field("name", "What for", maxlength=200),
        choice("days", "Expires", SPANS, "90"),
        press="Make token",
    )) if ask.may(auth.create_token) else None  # fmt: skip
    return Screen(title="Tokens", body=(heading("Tokens"), fresh, listing))


def _token(ask: Ask, each: admin.TokenInfo, of: str) -> Markup:
    is_over = each.expires_at is not None and each.expires_at <= ask.now
    state = "revoked" if each.revoked else "expired" if is_over else "active"
    lever = None
    if state == "active" and ask.may(auth.revoke_token):
        asked = f"Revoke {each.name or each.id}? What it has open ends at once."
        lever = button("Revoke", path("tokens", each.id, "revoke"), confirm=asked, kind="danger")
    return row(
        each.id,
        each.name or each.id,
        of,
        badge(state),
        when(each.issued_at),
        when(each.expires_at),
        when(each.last_used_at),
        lever,
    )


async def show_users(ask: Ask) -> Screen:
    """Everybody, with their grants."""
    found = (await ask.call(admin.list_users, admin.UserListRequest())).users
    rows = (_user(ask, each) for each in found)
    listing = table(("User", "Kind", "E-mail", "Grants", ""), rows, label="Users")
    fresh = folded("New user", form(
        "/users/create",
        field("name", "Name", required=True, maxlength=63),
        field("email", "E-mail", type="email", maxlength=254),
        field("grants", "Grants, with commas between", value="readonly", maxlength=1000),
        press="Create",
    )) if ask.may(admin.create_user) else None  # fmt: skip
    return Screen(title="Users", body=(heading("Users"), listing, fresh))


def _user(ask: Ask, each: admin.Subject) -> Markup:
    levers: list[Markup] = []
    if ask.may(users.update):
        grants = field("grants", f"Grants of {each.name}", value=", ".join(each.policies), maxlength=1000)
        levers.append(folded("Change", form(path("users", each.name, "update"), grants, press="Save")))
    if ask.may(users.delete):
        asked = f"Delete {each.name}, with all its tokens?"
        levers.append(button("Delete", path("users", each.name, "delete"), confirm=asked, kind="danger"))
    return row(
        each.name,
        each.name,
        each.kind,
        each.email,
        ", ".join(each.policies),
        el("span", *levers, class_="ways"),
    )


async def grants(ask: Ask) -> Screen:
    """What there is to give."""
    found = (await ask.call(admin.list_grants, admin.PolicyListRequest())).policies
    rows = (_grant(ask, each) for each in found)
    listing = table(("Grant", "Description", "Allows", ""), rows, label="Grants")
    hint = (
        "One rule a line: what, verbs with commas between, a namespace (left out: all): services get,list web"
    )
    area = el(
        "textarea",
        name="rules",
        rows=4,
        required=True,
        maxlength=65536,
        placeholder="services get,list default",
    )
    fresh = folded("New grant", form(
        "/grants/create",
        field("name", "Name", required=True, maxlength=63),
        field("description", "Description", maxlength=1000),
        el("label", el("span", "Rules"), area),
        el("p", hint, class_="dim"),
        press="Create",
    )) if ask.may(admin.create_grant) else None  # fmt: skip
    return Screen(
        title="Grants", body=(heading("Grants"), listing if found else empty("No grants", hint), fresh)
    )


def _grant(ask: Ask, each: Grant) -> Markup:
    lever: Markup | None = badge("built in") if each.builtin else None
    if not each.builtin and ask.may(admin.delete_grant):
        asked = f"Delete {each.name}? Whoever has it loses what it allows."
        lever = button("Delete", path("grants", each.name, "delete"), confirm=asked, kind="danger")
    rules = (
        el("li", f"{rule.resource}: {', '.join(rule.verbs)} in {rule.namespace or '*'}")
        for rule in each.rules
    )
    return row(each.name, each.name, each.description, el("ul", rules, class_="rules"), lever)


async def create_token(ask: Ask) -> Done:
    """One more; its text is in the answer and nowhere else."""
    asked = auth.CreateTokenRequest(
        subject_name=ask.given("subject"), name=ask.given("name"), ttl_seconds=ask.number("days") * DAY
    )
    made = await ask.call(auth.create_token, asked)
    return Done(said="The token is made.", shown=secret("token", made.secret))


async def revoke_token(ask: Ask) -> Done:
    """Good for nothing from now on."""
    await ask.call(auth.revoke_token, auth.RevokeTokenRequest(id=ask.values["id"]))
    return Done(said="The token is revoked.")


async def create_user(ask: Ask) -> Done:
    """Somebody new."""
    asked = admin.UserCreateRequest(name=ask.given("name"), email=ask.given("email"), policies=_listed(ask))
    await ask.call(admin.create_user, asked)
    return Done(said=f"User {asked.name} is there; make a token to log in with.")


async def update_user(ask: Ask) -> Done:
    """Other grants."""
    name = ask.values["name"]
    found = (await ask.call(users.get, users.UserGetRequest(name=name))).user
    email, revision = (found.email, found.revision) if found else ("", 0)
    asked = users.UserUpdateRequest(name=name, email=email, policies=_listed(ask), revision=revision)
    await ask.call(users.update, asked)
    return Done(said=f"{name} has other grants now.")


async def delete_user(ask: Ask) -> Done:
    """With all tokens."""
    answer = await ask.call(users.delete, users.UserDeleteRequest(name=ask.values["name"]))
    return Done(said=f"{ask.values['name']} is deleted, and {answer.tokens} tokens.")


async def create_grant(ask: Ask) -> Done:
    """Another set of rules."""
    rules = [_rule(line) for line in ask.text("rules").splitlines() if line.strip()]
    made = Grant(name=ask.given("name"), description=ask.given("description"), rules=rules)
    await ask.call(admin.create_grant, admin.PolicyCreateRequest(policy=made))
    return Done(said=f"Grant {made.name} is there; give it to somebody under Users.")


async def delete_grant(ask: Ask) -> Done:
    """Taken off everybody."""
    await ask.call(admin.delete_grant, admin.PolicyDeleteRequest(name=ask.values["name"]))
    return Done(said="The grant is deleted.")


def _listed(ask: Ask) -> list[str]:
    return [name.strip() for name in ask.given("grants").split(",") if name.strip()]


def _rule(line: str) -> PolicyRule:
    words = line.split()
    if not WORDS - 1 <= len(words) <= WORDS:
        raise InvalidArgument.of(
            [Violation("rules", f"{line[:60]!r} is not: what, verbs, and maybe a namespace")]
        )
    return PolicyRule(resource=words[0], verbs=words[1].split(","), namespace="".join(words[2:]))


_KINDS: Final = frozenset({"token", "subject", "grant"})
PAGES: Final = (
    Page(path="/settings/tokens", show=tokens, watches=_KINDS),
    Page(path="/settings/users", show=show_users, watches=_KINDS),
    Page(path="/settings/grants", show=grants, watches=_KINDS),
)
ACTIONS: Final = (
    Action(path="/tokens/create", act=create_token),
    Action(path="/tokens/{id}/revoke", act=revoke_token),
    Action(path="/users/create", act=create_user),
    Action(path="/users/{name}/update", act=update_user),
    Action(path="/users/{name}/delete", act=delete_user),
    Action(path="/grants/create", act=create_grant),
    Action(path="/grants/{name}/delete", act=delete_grant),
)
