"""References in variables: `{{secret:NAME/KEY}}` and `{{configmap:NAME/KEY}}` in the values of `env`.

A spec keeps the reference and never the value, which is put in when a runner is about to need it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from rune.api.fields import LABEL
from rune.errors import Violation

REFERENCE: Final = re.compile(r"\{\{\s*(secret|configmap|config):([^{}]*)\}\}")
"""Whatever else stands in braces is the program's own."""
NAME: Final = re.compile(LABEL)
SUFFIX: Final = "rune"
FORM: Final = "{{{{{head}:NAME/KEY}}}}"


class Reference(NamedTuple):
    """One key of one secret or configmap."""

    kind: str
    name: str
    key: str


def references(env: Mapping[str, str], home: str) -> Iterator[tuple[str, Reference]]:
    """Those of all variables, each with its variable's name; what is malformed is not among them."""
    for name, value in env.items():
        for match in REFERENCE.finditer(value):
            found = _read(match, home)
            if isinstance(found, Reference):
                yield name, found


def violations(env: Mapping[str, str], home: str) -> Iterator[Violation]:
    """What looks like a reference and is none."""
    for name, value in env.items():
        for match in REFERENCE.finditer(value):
            why = _read(match, home)
            if isinstance(why, str):
                yield Violation(f"env.{name}", why)


def resolved(env: Mapping[str, str], home: str, value_of: Callable[[str, Reference], str]) -> dict[str, str]:
    """The variables with values in place of references; a value is put in as it is, never read again."""

    def put(name: str, match: re.Match[str]) -> str:
        found = _read(match, home)
        return value_of(name, found) if isinstance(found, Reference) else match[0]

    return {
        name: REFERENCE.sub(lambda match, name=name: put(name, match), value) for name, value in env.items()
    }


def _read(match: re.Match[str], home: str) -> Reference | str:
    """The reference, or why it is none."""
    kind = "secret" if match[1] == "secret" else "configmap"
    said = match[0][:80]
    whole, slash, key = match[2].strip().partition("/")
    name, dot, rest = whole.partition(".")
    if not slash or not key or "/" in key:
        return f"{said!r} names no key: write {FORM.format(head=match[1])}"
    if not NAME.fullmatch(name):
        return f"{said!r} names no {kind}: {name[:64]!r} is not a name"
    if dot and rest != f"{home}.{SUFFIX}":
        return f"{said!r} names another namespace: a service gets what its own, {home!r}, keeps"
    return Reference(kind, name, key)
