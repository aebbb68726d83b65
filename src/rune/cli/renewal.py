"""Renewal: a session's token is traded for the next one shortly before it ends, and kept in its context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from rune.api.orchestrator import auth
from rune.cli.state import State
from rune.client.client import Client, Transport
from rune.client.contexts import Context, save
from rune.client.trust import refuse_plain
from rune.core.clock import SystemClock
from rune.errors import Unauthenticated

AHEAD = 60.0
"""Seconds before its end in which a token is traded."""


def renew(state: State, transport: Callable[[State], Transport]) -> None:
    """See to it that the context's token lasts for a while; raises Unauthenticated when the session is over.

    Two commands may do so at the same time: the server gives both the same.
    """
    context = state.session
    if context is None or float(context.expires or 0) - SystemClock().now().timestamp() > AHEAD:
        return
    answer = _traded(state, context, transport)
    name = state.context or state.contexts.current
    kept = replace(
        context, token=answer.access_token, refresh=answer.refresh_token, expires=str(answer.expires_at)
    )
    state.contexts = state.contexts.having(name, kept)
    save(state.config_path, state.contexts)


def _traded(state: State, context: Context, transport: Callable[[State], Transport]) -> auth.RefreshResponse:
    bare = without_token(state)
    if state.address.partition("://")[0] not in ("https", "grpcs"):
        refuse_plain(state.address, context.refresh, insecure=state.insecure)
    ask = auth.RefreshRequest(refresh_token=context.refresh)

    async def go() -> auth.RefreshResponse:
        async with Client(transport(bare)) as client:
            return await client.call(auth.refresh, ask)

    try:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(go())
    except Unauthenticated as error:
        raise Unauthenticated(f"the session is over ({error.message}): rune login --user NAME") from error


def without_token(state: State) -> State:
    """The same server, and nobody in particular."""
    files = {
        "RUNE_CA_FILE": state.ca_file,
        "RUNE_CERT_FILE": state.cert_file,
        "RUNE_KEY_FILE": state.key_file,
    }
    environ = {**files, "HOME": "", "RUNE_CLI_CONFIG": "/dev/null"}
    return State(environ, server=state.address, insecure=state.insecure)
