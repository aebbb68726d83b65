"""`rune agents`: derived from the operation table."""

from __future__ import annotations

import click

from rune.api import OPERATIONS
from rune.cli import derive

agents = click.Group("agents", help="Agents: list, register, quarantine.", no_args_is_help=True)
derive.attach(agents, OPERATIONS, "agents")
