"""`rune alerts`: derived from the operation table."""

from __future__ import annotations

import click

from rune.api import OPERATIONS
from rune.cli import derive

alerts = click.Group("alerts", help="Alerts, false positives and webhooks.", no_args_is_help=True)
derive.attach(alerts, OPERATIONS, "alerts")
