"""The gRPC door: a generic handler for every operation, health, and reflection where it is switched on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from rune.api import OPERATIONS, Operation, Streaming, codec
from rune.api.fields import Message
from rune.core.call import Caller, Certificate
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.errors import ResourceExhausted, RuneError, Unavailable
from rune.server import reflection, tls
from rune.server.answers import encoded
from rune.server.callers import RequestIds, caller, peer_address
from rune.server.drain import Streams
from rune.server.failures import shortened, status_bytes

Ask = Callable[[], Message]
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
RpcHandler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
REQUEST_ID = "x-request-id"
DETAILS = "grpc-status-details-bin"
CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
SERVICES = tuple(dict.fromkeys(f"{row.package}.{row.service}" for row in OPERATIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """How the door opens."""

    address: str = "127.0.0.1:7863"
    """Port 0 takes a free one."""
    credentials: grpc.ServerCredentials | None = None
    """For TLS; without it the port speaks plain text."""
    is_mutual: bool = False
    """Clients show certificates, which may stand for a token."""
    reflection: bool = False
    """Tell everybody who asks which services there are."""
    most_request_bytes: int = 4 << 20
    most_answer_bytes: int = 64 << 20
    most_header_bytes: int = 16 << 10
    most_streams: int = 1000
    """Calls that one connection may have open."""
    most_calls: int = 10_000
    """Calls that may be open over all connections; more are refused at once."""


class GrpcDoor:
    """Serves every operation over gRPC, from `open` to `close`."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock, options: GrpcOptions) -> None:
        self._dispatcher, self._ids, self._options = dispatcher, RequestIds(clock), options
        self._open = Open(options.most_calls)
        self._streams = Streams()
        library: Any = health  # its types leave out what is asynchronous
        self._health = library.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def open(self) -> int:
        """Begin to serve and say on which port; raises Unavailable when the address cannot be had."""
        options = self._options
        server = grpc.aio.server(
            handlers=[_Handlers(self)],
            options=channel_options(options),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)  # pyright: ignore[reportUnknownMemberType] - generated, without types
        if options.reflection:
            reflection.add(server, SERVICES)
        await self.serving(ready=True)
        try:
            port = (
                server.add_secure_port(options.address, options.credentials)
                if options.credentials
                else server.add_insecure_port(options.address)
            )
        except RuntimeError as error:
            raise Unavailable(
                f"cannot listen for gRPC on {options.address}: is another server there?"
            ) from error
        await server.start()
        self._server = server
        return port

    async def serving(self, *, ready: bool) -> None:
        """Tell grpc.health.v1 how it is, for the server as a whole and for each service."""
        answer = health_pb2.HealthCheckResponse.ServingStatus
        for service in ("", *SERVICES):
            await self._health.set(service, answer.SERVING if ready else answer.NOT_SERVING)

    async def close(self, grace: float) -> None:
        """Refuse new calls, end the streams, and give the other calls `grace` seconds to end."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            self._streams.end()
            await self._server.stop(grace)
            self._server = None

    async def unary(self, arrival: Arrival, data: bytes, context: Context) -> bytes:
        """One request, one answer."""
        operation, who = arrival.operation, self._caller(arrival, context)
        try:
            with self._open:
                answer = await self._dispatcher.call(
                    operation, who, partial(codec.decode, operation.request, data)
                )
            text = encoded(codec.encode, answer, who)
        except RuneError as failure:
            await _abort(context, failure, who)
        return text

    async def stream(
        self, arrival: Arrival, asks: AsyncIterator[bytes], context: Context
    ) -> AsyncGenerator[bytes]:
        """One request or many, many answers; a slow reader holds the handler back."""
        operation, who = arrival.operation, self._caller(arrival, context)
        context.set_trailing_metadata(((REQUEST_ID, who.request_id),))
        requests = _decoded(operation, asks)
        try:
            with self._open:
                async with aclosing(self._items(operation, who, requests)) as items:
                    async for item in items:
                        yield item
        except RuneError as failure:
            await _abort(context, failure, who)

    async def _items(
        self, operation: Operation[Any, Any], who: Caller, requests: AsyncIterator[Ask]
    ) -> AsyncGenerator[bytes]:
        stream = self._dispatcher.stream(operation, who, requests)
        async with self._streams.running(), aclosing(stream) as items:
            async for item in items:
                yield encoded(codec.encode, item, who)

    async def feed(self, arrival: Arrival, data: bytes, context: Context) -> AsyncGenerator[bytes]:
        """One request, many answers."""
        async with aclosing(self.stream(arrival, _only(data), context)) as items:
            async for item in items:
                yield item

    def _caller(self, arrival: Arrival, context: Context) -> Caller:
        headers = cast("dict[str, str]", dict(arrival.metadata))  # what is bytes is no header of ours
        address = peer_address(context.peer())
        shown = _certificate(context) if self._options.is_mutual else None
        return caller("grpc", self._ids.next(), address=address, headers=headers, certificate=shown)


class Open:
    """Counts the calls that are open. The library could, and takes 20 µs for each."""

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0

    def __enter__(self) -> None:
        if self._count >= self._most:
            raise ResourceExhausted(f"{self._count} calls are open: try again later")
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1


class Arrival(NamedTuple):
    """A call as it comes in. The context could tell the metadata too, and would make it anew."""

    operation: Operation[Any, Any]
    metadata: Iterable[tuple[str, str | bytes]]


class _Handlers(grpc.GenericRpcHandler):
    """The table by the path of each method; gRPC itself answers UNIMPLEMENTED for any other."""

    def __init__(self, door: GrpcDoor) -> None:
        self._door = door
        self._by_path = {row.path: row for row in OPERATIONS}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcHandler | None:
        operation = self._by_path.get(handler_call_details.method)
        if operation is None:
            return None
        door, arrival = self._door, Arrival(operation, handler_call_details.invocation_metadata)
        if operation.streaming is Streaming.NONE:
            return grpc.unary_unary_rpc_method_handler(partial(door.unary, arrival))
        if operation.streaming is Streaming.SERVER:
            return grpc.unary_stream_rpc_method_handler(partial(door.feed, arrival))
        return grpc.stream_stream_rpc_method_handler(partial(door.stream, arrival))


def _certificate(context: Context) -> Certificate | None:
    """Whom the client's certificate names."""
    found = next(iter(context.auth_context().get("x509_pem_cert", ())), b"")
    return tls.peer(found) if found else None


async def _only(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def _decoded(operation: Operation[Any, Any], asks: AsyncIterator[bytes]) -> AsyncIterator[Ask]:
    async for data in asks:
        yield partial(codec.decode, operation.request, data)


async def _abort(context: Context, failure: RuneError, who: Caller) -> NoReturn:
    """End the call with the failure; raises gRPC's own mark of an ended call."""
    await context.abort(
        CODES[failure.codes.grpc],
        shortened(failure.message),
        trailing_metadata=(
            (REQUEST_ID, who.request_id),
            (DETAILS, status_bytes(failure, who.request_id)),
        ),
    )


def channel_options(options: GrpcOptions) -> list[tuple[str, int]]:
    """The limits in the words of gRPC's core; pings more often than each 10 seconds end a connection."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", options.most_request_bytes),
        ("grpc.max_send_message_length", options.most_answer_bytes),
        ("grpc.max_metadata_size", options.most_header_bytes),
        ("grpc.max_concurrent_streams", options.most_streams),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
    ]
