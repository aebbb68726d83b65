"""What Rune offers: every operation, declared once. Start here, then read one noun, such as `orchestrator/services.py`.

`OPERATIONS` is the table that every surface is a loop over.
"""

from __future__ import annotations

from rune.api.operation import Access, Effect, Operation, Rate, Streaming
from rune.api.table import OPERATIONS, by_name

__all__ = ["OPERATIONS", "Access", "Effect", "Operation", "Rate", "Streaming", "by_name"]
