"""From a command to the server: one client, and a loop where something is waited for."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from rune.api.operation import In, Operation, Out
from rune.cli.state import State
from rune.client.client import CALL_SECONDS, Client, HasNow, Transport
from rune.errors import InvalidArgument

T = TypeVar("T")


def connected(state: State, work: Callable[[Client], Awaitable[T]]) -> T:
    """What the work gives; its client is closed afterwards."""

    async def go() -> T:
        async with Client(transport(state)) as client:
            return await work(client)

    if not gc.isenabled():  # see main.py: from here on there may be a long wait
        gc.freeze()
        gc.enable()
    import asyncio  # noqa: PLC0415 - 20 ms that `asked` does without

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the thread's own loop alone
        return runner.run(go())


def asked(state: State, operation: Operation[In, Out], request: In) -> Out:
    """The answer to one call, without an event loop where that can be."""
    carrier = transport(state)
    if not isinstance(carrier, HasNow):
        return connected(state, lambda client: client.call(operation, request))
    return cast("Out", carrier.unary_now(operation, request, timeout=CALL_SECONDS))


def transport(state: State) -> Transport:
    """The transport that the server's address asks for."""
    address, token = state.address, state.token
    if address.startswith(("http://", "https://")):
        from rune.client.http import HttpTransport  # noqa: PLC0415 - 230 ms that gRPC does not need

        return HttpTransport(address, token=token, verify=_verify(state.ca_file))
    from rune.client.quick import do_without_aio  # noqa: PLC0415 - as above, the other way round

    do_without_aio()
    from rune.client.grpc import GrpcTransport  # noqa: PLC0415 - after the line above

    secure = address.startswith("grpcs://")
    target = address.removeprefix("grpcs://").removeprefix("grpc://")
    if not secure:
        return GrpcTransport(target, token=token)
    return GrpcTransport(target, token=token, tls=True, ca=_pem(state.ca_file))


def _pem(path: str) -> bytes:
    from pathlib import Path  # noqa: PLC0415 - plain connections do without

    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise InvalidArgument(f"the authority's certificate cannot be read: {error}") from error


def _verify(path: str) -> object:
    if not path:
        return True
    import ssl  # noqa: PLC0415 - only for an authority of one's own

    return ssl.create_default_context(cadata=_pem(path).decode())
