"""Renewal: a session's token is traded for the next one shortly before it ends.

The command line and `rune-mcp` do so with the same contexts. Two may at the same time: they are given the
same tokens.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from rune.api.orchestrator import auth
from rune.client.client import Client, Transport
from rune.client.contexts import Context
from rune.errors import Unauthenticated

AHEAD = 60.0
"""Seconds before its end in which a token is traded."""


def is_short(context: Context, now: float) -> bool:
    """Whether its token is over soon; `now` is in seconds since 1970."""
    return float(context.expires or 0) - now <= AHEAD


async def traded(context: Context, connect: Callable[[], Transport]) -> Context:
    """The context with its next tokens, over a connection that shows none.

    Raises Unauthenticated, with the remedy, once the session is over.
    """
    if not context.refresh:
        raise Unauthenticated("the session is over: rune login --user NAME")
    try:
        async with Client(connect()) as client:
            given = await client.call(auth.refresh, auth.RefreshRequest(refresh_token=context.refresh))
    except Unauthenticated as error:
        raise Unauthenticated(f"the session is over ({error.message}): rune login --user NAME") from error
    return replace(
        context, token=given.access_token, refresh=given.refresh_token, expires=str(given.expires_at)
    )
