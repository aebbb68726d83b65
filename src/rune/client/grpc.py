"""The transport over gRPC: raw protobuf bytes on the operation's path.

It stands on grpc's threads, not on `grpc.aio`: importing the latter takes as long as everything else that a
short command needs together (60 ms of 130), and a client waits for a server, not for its own loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from rune.api import codec
from rune.api.fields import Message
from rune.api.operation import Operation, Streaming
from rune.client.failures import failure
from rune.errors import RuneError, Unavailable, Violation

MOST_MESSAGE_BYTES = 64 << 20
AHEAD = 64
"""How many answers of a stream may wait to be taken; a server that sends faster has to wait."""
_DETAILS = "grpc-status-details-bin"
_END: Any = object()


def _without_aio() -> None:
    """Put an empty `grpc.aio` where grpc's own import would load the whole of it.

    Asking it for a name loads it after all.
    """
    if "grpc" in sys.modules:
        return
    empty = ModuleType("grpc.aio")
    empty.__spec__ = ModuleSpec("grpc.aio", None)

    def load(name: str) -> Any:  # noqa: ANN401 - whatever grpc.aio calls so
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get("grpc.aio") is empty:
            del sys.modules["grpc.aio"]
        import grpc.aio as real  # noqa: PLC0415 - this is the point: only now

        return getattr(real, name)

    empty.__dict__["__getattr__"] = load
    sys.modules["grpc.aio"] = empty


_without_aio()
import grpc  # noqa: E402 - after the line above, which makes it quick


class GrpcTransport:
    """One channel to one server; `ca` is PEM, without it the system's authorities are asked."""

    def __init__(
        self,
        target: str,
        *,
        token: str = "",
        tls: bool = False,
        ca: bytes = b"",
    ) -> None:
        self._target = target
        options = [
            ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel: Any  # raw bytes both ways, which the stubs of grpc have no word for
        if tls:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca or None), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        call = self._channel.unary_unary(operation.path).future(
            codec.encode(request), timeout=timeout, metadata=self._metadata
        )
        call.add_done_callback(partial(_tell, loop, done))
        try:
            await done
            answer = call.result()
        except grpc.RpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()
        return codec.read(operation.response, answer)

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        options: dict[str, Any] = {"timeout": timeout, "metadata": self._metadata}
        feed = _Feed(asyncio.get_running_loop(), requests)
        if operation.streaming is Streaming.BOTH:
            call = self._channel.stream_stream(operation.path)(feed.taken(), **options)
        else:
            first = codec.encode(await anext(requests))
            call = self._channel.unary_stream(operation.path)(first, **options)
        arrivals = _Arrivals(asyncio.get_running_loop(), call)
        try:
            async for item in arrivals.items():
                yield codec.read(operation.response, item)
        except grpc.RpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()
            arrivals.stop()
            feed.stop()

    async def close(self) -> None:
        """End the channel and every call on it."""
        self._channel.close()

    def _failure(self, error: Any) -> RuneError:  # noqa: ANN401 - an RpcError is a Call too, which its type hides
        code, message = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and not _details(error):
            return Unavailable(f"cannot reach {self._target}: {_shortened(message)}")
        return failure(code.value[0], message, **_told(_details(error)))


def _details(error: Any) -> bytes:  # noqa: ANN401 - as above
    return next((value for key, value in error.trailing_metadata() or () if key == _DETAILS), b"")


def _told(status: bytes) -> dict[str, Any]:
    """What the details of a `google.rpc.Status` say, as arguments for `failure`."""
    if not status:
        return {}
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - slow to import, and only failures need it
    from google.rpc import error_details_pb2, status_pb2  # noqa: PLC0415 - as above

    told: dict[str, Any] = {}
    try:
        for detail in status_pb2.Status.FromString(status).details:
            _tell_of(told, detail, error_details_pb2)
    except (DecodeError, ValueError):
        return told
    return told


def _tell_of(told: dict[str, Any], detail: Any, kinds: Any) -> None:  # noqa: ANN401 - protobuf's generated modules
    request, retry, info = kinds.BadRequest(), kinds.RetryInfo(), kinds.ErrorInfo()
    if detail.Unpack(request):
        told["violations"] = [Violation(one.field, one.description) for one in request.field_violations]
    elif detail.Unpack(retry):
        told["retry_after"] = retry.retry_delay.ToNanoseconds() / 1e9
    elif detail.Unpack(info) and "oldest" in info.metadata:
        told["oldest"] = int(info.metadata["oldest"])


def _shortened(message: str) -> str:
    """The last and most telling part of grpc's nested explanations."""
    return message.rsplit("; last error: ", maxsplit=1)[-1].removeprefix("UNAVAILABLE: ") or "no answer"


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], _call: object) -> None:
    def settle() -> None:
        if not done.done():
            done.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


class _Arrivals:
    """Brings the answers of a call, which a thread reads, to the loop; never more than `AHEAD` at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Any) -> None:  # noqa: ANN401 - grpc's own class of calls
        self._loop = loop
        self._room = threading.Semaphore(AHEAD)
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._stopped = False
        threading.Thread(target=self._read, args=(call,), name="rune-stream", daemon=True).start()

    async def items(self) -> AsyncGenerator[bytes]:
        """The answers; raises what ended the call."""
        while True:
            item = await self._queue.get()
            self._room.release()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped = True
        self._room.release()

    def _read(self, call: Any) -> None:  # noqa: ANN401 - as above
        try:
            for item in call:
                self._put(item)
                if self._stopped:
                    return
        except grpc.RpcError as error:
            self._put(error)
        else:
            self._put(_END)

    def _put(self, item: object) -> None:
        self._room.acquire()
        if not self._stopped and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


class _Feed:
    """Brings requests from the loop to the thread of grpc that sends them, one when the last is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, requests: AsyncIterator[Message]) -> None:
        self._loop, self._requests = loop, requests
        self._waiting: Any = None
        self._stopped = False

    def taken(self) -> Iterator[bytes]:
        """The requests, for grpc."""
        while not self._stopped:
            self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            try:
                request = self._waiting.result()
            except (asyncio.CancelledError, RuntimeError):
                return
            if request is _END:
                return
            yield codec.encode(request)

    async def _next(self) -> Any:  # noqa: ANN401 - a request, or the mark of the end
        return await anext(self._requests, _END)

    def stop(self) -> None:
        """Let grpc's thread end."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
