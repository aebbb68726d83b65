"""From a command to the server: one client, and a loop where something is waited for."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar, cast

from rune.api.operation import In, Operation, Out
from rune.cli.state import State
from rune.client.client import CALL_SECONDS, Client, HasNow, Transport

if TYPE_CHECKING:
    from rune.client.trust import Trust

T = TypeVar("T")


def connected(state: State, work: Callable[[Client], Awaitable[T]]) -> T:
    """What the work gives; its client is closed afterwards.

    What the work begins before it is awaited is on its way to the server while the event loop is imported.
    """
    renewed(state)
    client = Client(transport(state))
    begun = work(client)
    import asyncio  # noqa: PLC0415 - 20 ms that `asked` does without

    async def go() -> T:
        async with client:
            return await begun

    if not gc.isenabled():  # see main.py: from here on there may be a long wait
        gc.freeze()
        gc.enable()
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the thread's own loop alone
        return runner.run(go())


def asked(state: State, operation: Operation[In, Out], request: In) -> Out:
    """The answer to one call, without an event loop where that can be."""
    renewed(state)
    carrier = transport(state)
    if not isinstance(carrier, HasNow):
        return connected(state, lambda client: client.call(operation, request))
    return cast("Out", carrier.unary_now(operation, request, timeout=CALL_SECONDS))


def renewed(state: State) -> None:
    """Trade a session's token for the next one before it ends."""
    if state.session is not None:
        from rune.cli.renewal import renew  # noqa: PLC0415 - tokens that are no session's do without

        renew(state, transport)


def transport(state: State) -> Transport:
    """The transport that the server's address asks for."""
    address, token, insecure = state.address, state.token, state.insecure
    if address.startswith(("http://", "https://")):
        from rune.client.http import HttpTransport  # noqa: PLC0415 - 230 ms that gRPC does not need

        secured = trusted(state) if address.startswith("https://") else None
        return HttpTransport(
            address, token=token, organization=state.organization, trust=secured, insecure=insecure
        )
    from rune.client.quick import do_without_aio  # noqa: PLC0415 - as above, the other way round

    do_without_aio()
    from rune.client.grpc import GrpcTransport  # noqa: PLC0415 - after the line above

    target = address.removeprefix("grpcs://").removeprefix("grpc://")
    if not address.startswith("grpcs://"):
        return GrpcTransport(target, token=token, organization=state.organization, insecure=insecure)
    return GrpcTransport(target, token=token, organization=state.organization, trust=trusted(state))


def trusted(state: State) -> Trust:
    """How the state says to speak TLS."""
    from rune.client.trust import read  # noqa: PLC0415 - plain connections do without

    return read(authority=state.ca_file, certificate=state.cert_file, key=state.key_file)
