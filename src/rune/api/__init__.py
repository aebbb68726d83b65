"""What Rune offers: every operation, declared once in `OPERATIONS`.

Every surface is a loop over that table. Start here, then read one noun, such as `orchestrator/services.py`.
"""

from __future__ import annotations

from rune.api.operation import Access, Effect, Operation, Rate, Streaming
from rune.api.table import OPERATIONS, by_name

__all__ = ["OPERATIONS", "Access", "Effect", "Operation", "Rate", "Streaming", "by_name"]
