"""A `Plane` behind a real gRPC port, on a loop of its own thread, as a client would meet it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from rune.api import OPERATIONS, Operation, Streaming, codec
from rune.core.call import Caller
from rune.errors import OutOfRange, ResourceExhausted, RuneError
from unit.client.plane import Plane
from unit.client.plane_services import new_plane

_AIO: Any = grpc.aio  # its types do not know the next


def _hold() -> None:
    """Keeps grpc.aio up for the whole session: taken down, it leaves its sockets to the collector."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    _AIO.init_grpc_aio()
    asyncio.set_event_loop(None)
    loop.close()


_hold()
T = TypeVar("T")
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Served:
    """The plane, where it listens, and a way to do something on its loop."""

    def __init__(self) -> None:
        self.plane: Plane
        self.address = ""
        self.loop = asyncio.new_event_loop()

    def on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it where the plane lives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(5)


@contextmanager
def serving() -> Generator[Served]:
    """A server from here to the end of the block."""
    served = Served()
    thread = threading.Thread(target=served.loop.run_forever, name="plane")
    thread.start()
    server = served.on_loop(_open(served))
    try:
        yield served
    finally:
        served.on_loop(_close(server))
        served.loop.call_soon_threadsafe(served.loop.stop)
        thread.join(5)
        served.loop.close()


async def _open(served: Served) -> grpc.aio.Server:
    served.plane = new_plane()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handlers(served.plane),))
    served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    return server


async def _close(server: grpc.aio.Server) -> None:
    await server.stop(0)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._rows = {row.path: row for row in OPERATIONS}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        row = self._rows.get(handler_call_details.method)
        if row is None:
            return None
        kinds: Any = grpc
        if row.streaming is Streaming.BOTH:
            return kinds.stream_stream_rpc_method_handler(self._stream(row))
        if row.streams:
            return kinds.unary_stream_rpc_method_handler(self._stream(row))
        return kinds.unary_unary_rpc_method_handler(self._unary(row))

    def _unary(self, row: Operation[Any, Any]) -> Any:
        async def serve(data: bytes, context: Any) -> bytes:
            try:
                answer = await self._plane.dispatcher.call(
                    row, _caller(context), lambda: codec.decode(row.request, data)
                )
            except RuneError as failure:
                await _abort(context, failure)
                raise
            return codec.encode(answer)

        return serve

    def _stream(self, row: Operation[Any, Any]) -> Any:
        async def serve(given: Any, context: Any) -> AsyncIterator[bytes]:
            async def asks() -> AsyncIterator[Any]:
                if isinstance(given, bytes):
                    yield lambda: codec.decode(row.request, given)
                    return
                async for data in given:
                    yield lambda data=data: codec.decode(row.request, data)

            try:
                async for answer in self._plane.dispatcher.stream(row, _caller(context), asks()):
                    yield codec.encode(answer)
            except RuneError as failure:
                await _abort(context, failure)

        return serve


def _caller(context: Any) -> Caller:
    bearer = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
    return Caller(edge="grpc", request_id="r1", bearer=bearer, is_local=True)


async def _abort(context: Any, failure: RuneError) -> None:
    status = status_pb2.Status(code=failure.codes.grpc, message=failure.message)
    for detail in _details(failure):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(CODES[failure.codes.grpc], failure.message, trailing)


def _details(failure: RuneError) -> Iterator[Any]:
    info = error_details_pb2.ErrorInfo(reason=failure.codes.name, domain="rune")
    if isinstance(failure, OutOfRange):
        info.metadata["oldest"] = str(failure.oldest)
    yield info
    if failure.details:
        request = error_details_pb2.BadRequest()
        for violation in failure.details:
            request.field_violations.add(field=violation.field, description=violation.description)
        yield request
    if isinstance(failure, ResourceExhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(failure.retry_after * 1e9))
        yield retry
