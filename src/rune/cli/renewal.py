"""Renewal: the context's token lasts for as long as a command may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rune.cli.state import State
from rune.client.client import Transport
from rune.client.contexts import save
from rune.client.renewal import is_short, traded
from rune.client.trust import refuse_plain
from rune.core.clock import SystemClock


def renew(state: State, transport: Callable[[State], Transport]) -> None:
    """See to it that the context's token lasts a while; raises Unauthenticated when the session is over."""
    context = state.session
    if context is None or not is_short(context, SystemClock().now().timestamp()):
        return
    if state.address.partition("://")[0] not in ("https", "grpcs"):
        refuse_plain(state.address, context.refresh, insecure=state.insecure)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        kept = runner.run(traded(context, lambda: transport(without_token(state))))
    state.contexts = state.contexts.having(state.context or state.contexts.current, kept)
    save(state.config_path, state.contexts)


def without_token(state: State) -> State:
    """The same server, and nobody in particular."""
    files = {
        "RUNE_CA_FILE": state.ca_file,
        "RUNE_CERT_FILE": state.cert_file,
        "RUNE_KEY_FILE": state.key_file,
    }
    environ = {**files, "HOME": "", "RUNE_CLI_CONFIG": "/dev/null"}
    return State(environ, server=state.address, insecure=state.insecure)
