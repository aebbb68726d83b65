"""Lists in pages. A page is long enough for clients that read the first alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from mcp import types
from mcp.shared.exceptions import MCPError

T = TypeVar("T")
PAGE: Final = 250


def page(items: Sequence[T], cursor: str | None, *, key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The items after the one that the cursor names, and the cursor of what follows.

    Raises MCPError for a cursor of none of them: the list may have become another meanwhile.
    """
    start = 0
    if cursor:
        found = next((number for number, item in enumerate(items) if key(item) == cursor), None)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, "the cursor is of another list: begin anew without one")
        start = found + 1
    part = list(items[start : start + PAGE])
    return part, key(part[-1]) if start + PAGE < len(items) else None
