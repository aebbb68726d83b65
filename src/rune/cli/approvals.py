"""`rune approvals`: derived from the operation table."""

from __future__ import annotations

import click

from rune.api import OPERATIONS
from rune.cli import derive

approvals = click.Group(
    "approvals", help="Tool calls that wait for a person: list, approve, deny.", no_args_is_help=True
)
derive.attach(approvals, OPERATIONS, "approvals")
