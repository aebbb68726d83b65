"""Runs work beside the event loop, whichever it is: asyncio, or trio through anyio."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """The result of the work, done in a thread that sees the caller's context variables."""
    import asyncio  # noqa: PLC0415 - slow to import, and there already where it is needed

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from anyio import to_thread  # noqa: PLC0415 - comes with httpx; only trio needs it

        return await to_thread.run_sync(work)
    return await asyncio.to_thread(work)
