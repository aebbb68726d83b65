"""Runs work beside the event loop, whichever it is: asyncio, or trio through anyio."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
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


async def in_loop(future: Future[T], timeout: float) -> T:
    """The result of a future that another thread settles; raises TimeoutError, or that of futures."""
    import asyncio  # noqa: PLC0415 - as above

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from anyio import to_thread  # noqa: PLC0415 - as above

        return await to_thread.run_sync(lambda: future.result(timeout), abandon_on_cancel=True)
    async with asyncio.timeout(timeout):
        return await asyncio.wrap_future(future)
