"""What Rune offers: every operation, declared once in `OPERATIONS`.

Every surface is a loop over that table. Start here, then read one noun, such as `orchestrator/services.py`.
Whoever imports a noun pays for that noun alone: the table is read when somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rune.api.operation import Access, Effect, Operation, Rate, Streaming

if TYPE_CHECKING:
    from rune.api.table import OPERATIONS, by_name

__all__ = ["OPERATIONS", "Access", "Effect", "Operation", "Rate", "Streaming", "by_name"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the table calls so
    if name not in ("OPERATIONS", "by_name"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rune.api import table  # noqa: PLC0415 - the whole table, and only for those who ask

    return getattr(table, name)
