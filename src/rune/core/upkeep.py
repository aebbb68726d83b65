"""Upkeep: what identity writes when nobody asks. When tokens were last used, and that old ones go."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Final

from msgspec.structs import replace

from rune.core.auth import Identity
from rune.core.clock import Clock
from rune.core.enrollments import Enrollment
from rune.core.sessions import Session
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.core.tokens import SYSTEM, Token
from rune.errors import RuneError

logger = logging.getLogger(__name__)

PERIOD: Final = 60.0
"""Seconds between two rounds, so a token's last use is written once a minute at most."""
KEPT: Final = timedelta(days=30)
"""How long a revoked or expired token is still listed."""
AT_ONCE: Final = 500
"""Writes of one commit, so that others get their turn."""


async def keep(store: Store, identity: Identity, clock: Clock) -> None:
    """A round every minute, until it is cancelled."""
    while True:
        await asyncio.sleep(PERIOD)
        try:
            await tidy(store, identity, clock)
        except RuneError as error:
            logger.warning(
                "tokens were not tidied, the next round tries again", extra={"reason": error.message}
            )


async def tidy(store: Store, identity: Identity, clock: Clock) -> None:
    """One round; also the last thing before the store closes."""
    used = identity.take_used()
    while some := dict(islice(used.items(), AT_ONCE)):
        try:
            await _write_used(store, some)
        except RuneError:
            identity.put_back(used)
            raise
        used = {each: when for each, when in used.items() if each not in some}
    await settle(store, lambda: _gone(store, clock.now()), operation="tidy_tokens")
    await settle(store, lambda: _over(store, identity, clock.now()), operation="tidy_sessions")


async def _write_used(store: Store, used: dict[str, datetime]) -> None:
    def decide() -> list[Write]:
        tokens = ((store.find(Token, SYSTEM, each), when) for each, when in used.items())
        return [
            Put(replace(token, last_used_at=when))
            for token, when in tokens
            if token is not None and (token.last_used_at is None or token.last_used_at < when)
        ]

    await settle(store, decide, operation="note_token_use")


def _gone(store: Store, now: datetime) -> list[Write]:
    ended = ((token, token.revoked_at or token.expires_at) for token in store.list(Token, SYSTEM))
    old = (Delete(token.key, token.revision) for token, end in ended if end is not None and end < now - KEPT)
    return list(islice(old, AT_ONCE))


def _over(store: Store, identity: Identity, now: datetime) -> list[Write]:
    """Sessions that have ended, and codes: nobody asks for them again."""
    sessions = (
        each for each in store.list(Session, SYSTEM) if not (each.is_good(now) and identity.stands(each))
    )
    codes = (
        each for each in store.list(Enrollment, SYSTEM) if each.expires_at is None or each.expires_at <= now
    )
    return [Delete(each.key, each.revision) for each in islice(chain(sessions, codes), AT_ONCE)]
