"""`rune events`: derived from the operation table."""

from __future__ import annotations

import click

from rune.api import OPERATIONS
from rune.cli import derive

events = click.Group("events", help="Security events, and figures over them.", no_args_is_help=True)
derive.attach(events, OPERATIONS, "events")
