"""Asking before something is destroyed."""

from __future__ import annotations

import sys

import click

from rune.errors import FailedPrecondition


class Unconfirmed(FailedPrecondition):
    """Something would be destroyed, and nobody said yes."""

    exit_code = 1
    next = "the same command with --yes"


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to delete it; raises Unconfirmed where nobody can be asked, Abort when the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unconfirmed(f"this deletes {what}: it takes a yes, and there is no terminal to ask on")
    click.confirm(f"Delete {what}?", abort=True, err=True)
