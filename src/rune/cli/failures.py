"""What a failure says on a terminal: what happened, where, and the next command to type."""

from __future__ import annotations

import re

from rune.cli.table import safe
from rune.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RuneError,
    Unauthenticated,
    Unavailable,
)

NEXT: dict[type[RuneError], str] = {
    Unauthenticated: "rune login, or set RUNE_TOKEN",
    Unavailable: "rune dev starts a server here; --server or RUNE_SERVER names another one",
    PermissionDenied: "rune whoami shows who you are and which policies you have",
    Conflict: "read it again, then repeat the change",
    DeadlineExceeded: "rune status shows how far it has come; --timeout waits longer",
}


LISTS = {
    "service": "rune get services -A",
    "instance": "rune get instances -A",
    "secret": "rune get secrets -A",
    "configmap": "rune get configmaps -A",
    "namespace": "rune get namespaces",
    "agent": "rune agents list",
}
"""What shows all there are of the kind that was not found."""
_KIND = re.compile(r"(?:there is no )?(\w+)")


def explained(error: RuneError) -> str:
    """The failure as lines of text."""
    lines = [f"error: {error.message}"]
    if isinstance(error, InvalidArgument) and len(error.details) > 1 and "\n" not in error.message:
        lines = ["error: the request is not valid", *(f"  {violation}" for violation in error.details)]
    notes: list[str] = getattr(error, "__notes__", [])
    hint = notes[0] if notes else getattr(error, "next", "") or _hint(error)
    return safe("\n".join([*lines, *([f"next: {hint}"] if hint else [])]))


def _hint(error: RuneError) -> str:
    if isinstance(error, ResourceExhausted):
        return f"try again in {error.retry_after:g} s"
    if isinstance(error, NotFound):
        named = _KIND.match(error.message)
        shows = LISTS.get(named[1]) if named else None
        return f"{shows} shows what there is" if shows else ""
    return next((text for kind, text in NEXT.items() if isinstance(error, kind)), "")
