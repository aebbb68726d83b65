"""Rounds: what the plane looks at by itself, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from rune.errors import Closed, RuneError

logger = logging.getLogger(__name__)


async def rounds(look: Callable[[], Awaitable[None]], *, every: float, of: str) -> None:
    """A round after so many seconds each, until it is cancelled or the stores close."""
    while True:
        await asyncio.sleep(every)
        try:
            await look()
        except Closed:
            return
        except RuneError as error:
            logger.warning("a round failed", extra={"of": of, "reason": error.message})
