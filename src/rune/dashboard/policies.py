"""Policies: an editor that checks as you type, every version with what changed, the way back, and trials."""

from __future__ import annotations

import difflib
from typing import Final

from markupsafe import Markup

from rune.api.security import events as events_api
from rune.api.security import policies as api
from rune.dashboard.ask import Action, Ask, Done, Link, Page, Part, Screen
from rune.dashboard.html import Node, el, join
from rune.dashboard.parts import (
    PAGE,
    badge,
    button,
    choice,
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
    table,
    text,
    when,
)  # fmt: skip
from rune.dashboard.suite import DIRECTIONS
from rune.errors import NotFound

LINKS: Final = (Link(path="/policies", label="Policies", needs=api.list_),)
COLUMNS: Final = ("Policy", "State", "Version", "Changed", "")
KINDS: Final = frozenset({"security-policy", "security-policy-version"})
FIRST: Final = """\
version: "1.0"
rules:
  - name: block-injection
    scanner: prompt_injection
    action: block
    severity: critical
  - name: tools
    type: tool_allowlist
    tools: [search, "read_*"]
    action: block
    severity: high
"""
LINES_SHOWN: Final = 2000


async def show(ask: Ask) -> Screen:
    """All of them."""
    part = await rows(ask)
    ways = (link("/policies/new", "New policy", class_="button"),) if ask.may(api.create) else ()
    hint = "A policy says what agents may do. Without one, Shields use what they find risky by themselves."
    listing = (
        long_table(ask, COLUMNS, part, label="Policies") if part.rows else empty("No policies", hint, FIRST)
    )
    return Screen(title="Policies", body=(heading("Policies", *ways), listing))


async def rows(ask: Ask) -> Part:
    """Some of them."""
    asked = api.ListPoliciesRequest(include_inactive=True, limit=PAGE, cursor=ask.query.get("cursor", ""))
    found = await ask.call(api.list_, asked)
    return Part(rows=[_row(ask, each) for each in found.policies], cursor=found.next_cursor or "")


def _row(ask: Ask, each: api.SecurityPolicy) -> Markup:
    at = path("policies", each.id)
    state = badge("active" if each.active else "off")
    switch = _switch(each.id, is_active=each.active) if ask.may(api.toggle) else None
    return row(each.id, link(at, each.name), state, each.version, when(each.updated_at), switch, to=at)


def _switch(policy_id: str, *, is_active: bool) -> Markup:
    label, on = ("Switch off", "no") if is_active else ("Switch on", "yes")
    asked = "Every Shield follows within two seconds. Go on?"
    return button(label, path("policies", policy_id, "toggle"), confirm=asked, on=on)


async def new(ask: Ask) -> Screen:
    """An editor with a first policy in it."""
    del ask
    fields = (field("name", "Name", required=True, maxlength=200), _editor(FIRST))
    body = (
        heading("New policy", back=("/policies", "Policies")),
        form("/policies/create", fields, press="Create"),
    )
    return Screen(title="New policy", body=body)


def _editor(content: str) -> Markup:
    """YAML, checked by the server while it is typed."""
    area = el(
        "textarea", "\n", content, name="yaml", id="yaml", rows=18, spellcheck="false", autocapitalize="off",
        wrap="off", aria_describedby="verdict", data_check="/ui/do/policies/check", maxlength=256 << 10,
    )  # fmt: skip
    numbers = el("div", class_="lines-at", aria_hidden="true")
    label = el("label", el("span", "YAML"), for_="yaml")
    return join(
        label,
        el("div", numbers, area, class_="editor"),
        el("p", "", id="verdict", role="status", class_="verdict"),
    )


async def one(ask: Ask) -> Screen:
    """One, in the editor, with its versions."""
    found = await ask.call(api.get, api.GetSecurityPolicyRequest(policy_id=ask.values["id"]))
    at, may = path("policies", found.id), ask.may(api.update)
    levers = [_switch(found.id, is_active=found.active)] if ask.may(api.toggle) else []
    if ask.may(api.delete):
        asked = f"Delete {found.name} for good, with all its versions?"
        levers.append(button("Delete", f"{at}/delete", confirm=asked, kind="danger"))
    shown = facts((
        ("State", badge("active" if found.active else "off")),
        ("Version", str(found.version)),
        ("Changed", when(found.updated_at)),
    ))  # fmt: skip
    fields = (
        el("input", type="hidden", name="version", value=found.version),
        field("name", "Name", value=found.name, required=True, maxlength=200),
        _editor(found.yaml_content),
    )
    editing = (
        form(f"{at}/save", fields, press="Save", kind="saves")
        if may
        else text(found.yaml_content, label="YAML")
    )
    trials = el("div", _try(at), _replay(ask, at), class_="beside")
    body = (
        heading(found.name, *levers, back=("/policies", "Policies")),
        shown,
        el("div", editing, data_keep=found.version),
    )
    return Screen(title=found.name, body=(*body, trials, await _versions(ask, found)))


def _try(at: str) -> Markup:
    fields = (
        choice("direction", "What happens", {**DIRECTIONS}, "tool_call"),
        field("tool", "Tool", maxlength=128),
        el(
            "label",
            el("span", "Text, or a tool's arguments as JSON"),
            el("textarea", name="text", rows=3, maxlength=65536),
        ),
    )
    hint = "Decides one action by the text in the editor, saved or not. Nothing is stored."
    return folded(
        "Test", el("p", hint, class_="dim"), form(f"{at}/try", fields, press="Decide", kind="with-yaml")
    )


def _replay(ask: Ask, at: str) -> Markup | None:
    if not ask.may(events_api.list_):
        return None
    spans = {"1": "the last hour", "24": "the last day", "168": "the last week"}
    hint = "Judges recorded events by the text in the editor, and shows which would be decided otherwise."
    fields = (choice("hours", "Events of", spans, "24"), field("agent", "Agent", maxlength=128))
    return folded(
        "Replay", el("p", hint, class_="dim"), form(f"{at}/replay", fields, press="Replay", kind="with-yaml")
    )


async def _versions(ask: Ask, found: api.GetSecurityPolicyResponse) -> Markup:
    asked = api.ListPolicyVersionsRequest(policy_id=found.id, limit=50)
    versions = (await ask.call(api.list_versions, asked)).versions
    rows = (_version(ask, each, found) for each in versions)
    return section("Versions", table(("Version", "By", "Made", "", ""), rows, label="Versions"))


def _version(ask: Ask, each: api.PolicyVersion, found: api.GetSecurityPolicyResponse) -> Markup:
    at = path("policies", found.id)
    back: Node = None
    if ask.may(api.rollback) and each.version != found.version:
        asked = f"Make version {each.version} the newest again?"
        back = button("Roll back", f"{at}/rollback", confirm=asked, version=str(each.version))
    changes = link(f"{at}/versions/{each.version}", "Changes")
    return row(str(each.version), each.version, each.created_by, when(each.created_at), changes, back)


async def version(ask: Ask) -> Screen:
    """What a version changed, and how it differs from now."""
    policy_id, number = ask.values["id"], ask.values["version"]
    asked = api.ListPolicyVersionsRequest(policy_id=policy_id, limit=200)
    texts = {str(each.version): each for each in (await ask.call(api.list_versions, asked)).versions}
    chosen = texts.get(number)
    if chosen is None:
        raise NotFound(f"version {number[:20]} is not among the newest {len(texts)}")
    before = texts.get(str(chosen.version - 1))
    newest = max(texts.values(), key=lambda each: each.version)
    title = f"Version {number}"
    body = [
        heading(title, back=(path("policies", policy_id), "the policy")),
        _against(before, chosen),
    ]
    if newest is not chosen:
        body.append(
            section(f"From here to version {newest.version}", _diff(chosen.yaml_content, newest.yaml_content))
        )
    return Screen(title=title, body=body)


def _against(before: api.PolicyVersion | None, chosen: api.PolicyVersion) -> Markup:
    if before is None:
        return section("The first version", _diff("", chosen.yaml_content))
    return section(f"Against version {before.version}", _diff(before.yaml_content, chosen.yaml_content))


def _diff(before: str, after: str) -> Markup:
    """Lines that went and lines that came, each with a sign: colour alone tells nobody enough."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    lines = [line for line in list(found)[2 : LINES_SHOWN + 2] if not line.startswith("@@")]
    kinds = {"+": "plus", "-": "minus"}
    shown = (el("span", line, "\n", class_=kinds.get(line[:1], "same")) for line in lines)
    return (
        el("pre", shown or "nothing", class_="diff", tabindex="0", role="region", aria_label="Changes")
        if lines
        else _same()
    )


def _same() -> Markup:
    return el("p", "The same text.", class_="dim")


async def check(ask: Ask) -> Done:
    """Whether a text is a good policy; nothing is stored."""
    found = await ask.call(api.validate, api.ValidatePolicyRequest(yaml_content=ask.text("yaml")))
    return Done(said="valid" if found.valid else (found.error or "not valid"))


async def create(ask: Ask) -> Done:
    """A new policy, in force at once."""
    asked = api.CreateSecurityPolicyRequest(name=ask.given("name"), yaml_content=ask.text("yaml"))
    made = await ask.call(api.create, asked)
    return Done(said=f"{made.name} is in force.", to=path("policies", made.id))


async def save(ask: Ask) -> Done:
    """The text as the next version."""
    asked = api.UpdateSecurityPolicyRequest(
        policy_id=ask.values["id"], name=ask.given("name"), yaml_content=ask.text("yaml"),
        version=ask.number("version"),
    )  # fmt: skip
    await ask.call(api.update, asked)
    return Done(said="Saved: every Shield follows within two seconds.")


async def toggle(ask: Ask) -> Done:
    """In force or not."""
    is_on = ask.given("on") == "yes"
    await ask.call(api.toggle, api.TogglePolicyRequest(policy_id=ask.values["id"], active=is_on))
    return Done(said=f"The policy is {'on' if is_on else 'off'}.")


async def rollback(ask: Ask) -> Done:
    """An earlier text as the newest version."""
    asked = api.RollbackPolicyRequest(policy_id=ask.values["id"], version=ask.number("version"))
    answer = await ask.call(api.rollback, asked)
    return Done(said=f"Version {answer.version} says what version {asked.version} said.")


async def delete(ask: Ask) -> Done:
    """For good."""
    await ask.call(api.delete, api.DeletePolicyRequest(policy_id=ask.values["id"]))
    return Done(said="The policy is deleted.", to="/policies")


PAGES: Final = (
    Page(path="/policies", show=show, rows=rows, watches=KINDS),
    Page(path="/policies/new", show=new),
    Page(path="/policies/{id}", show=one, watches=KINDS),
    Page(path="/policies/{id}/versions/{version}", show=version, watches=KINDS),
)
ACTIONS: Final = (
    Action(path="/policies/check", act=check),
    Action(path="/policies/create", act=create),
    Action(path="/policies/{id}/save", act=save),
    Action(path="/policies/{id}/toggle", act=toggle),
    Action(path="/policies/{id}/rollback", act=rollback),
    Action(path="/policies/{id}/delete", act=delete),
)
