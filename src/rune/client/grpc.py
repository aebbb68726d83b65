"""The transport over gRPC: raw protobuf bytes on the operation's path.

It stands on the threads of grpc, not on `grpc.aio`: a client waits for a server, not for its own loop.
Whoever only asks and waits may do without a loop altogether (`unary_now`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc

from rune.api import codec
from rune.api.fields import Message
from rune.api.operation import Operation, Streaming
from rune.client.client import credential
from rune.client.failures import failure
from rune.client.trust import Trust, refuse_plain
from rune.errors import RuneError, Unavailable, Violation

MOST_MESSAGE_BYTES = 64 << 20
KEEPALIVE_SECONDS = 30.0
"""Between two questions whether the server is still there, while a call is open."""
KEEPALIVE_TIMEOUT_SECONDS = 20.0
_DETAILS = "grpc-status-details-bin"


class GrpcTransport:
    """One channel to one server, over TLS where `trust` says how.

    Raises FailedPrecondition where the token would travel unencrypted, unless `insecure` allows that.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str = "",
        organization: str = "",
        trust: Trust | None = None,
        insecure: bool = False,
    ) -> None:
        self._target = target
        options = [
            ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
            # A stream may be silent for ever: without asking, nobody learns that its server lost power.
            ("grpc.keepalive_time_ms", round(KEEPALIVE_SECONDS * 1000)),
            ("grpc.keepalive_timeout_ms", round(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
            ("grpc.http2.ping_timeout_ms", round(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        self._channel: Any  # raw bytes both ways, which the stubs of grpc have no word for
        if trust is not None:
            shown = grpc.ssl_channel_credentials(
                trust.authority or None, trust.key or None, trust.certificate or None
            )
            self._channel = grpc.secure_channel(target, shown, options)
        else:
            refuse_plain(target, token, insecure=insecure)
            self._channel = grpc.insecure_channel(target, options)
        self._metadata = tuple(credential(token, organization).items())

    def unary_now(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        """One request, one answer, in the thread that asks."""
        call = self._channel.unary_unary(operation.path)
        try:
            answer = call(codec.encode(request), timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error) from error
        return codec.read(operation.response, answer)

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        return await self.begin(operation, request, timeout=timeout)()

    def begin(
        self, operation: Operation[Any, Any], request: Message, *, timeout: float
    ) -> Callable[[], Awaitable[Message]]:
        """Send the request; what this returns waits for the answer."""
        call = self._channel.unary_unary(operation.path).future(
            codec.encode(request), timeout=timeout, metadata=self._metadata
        )
        return partial(self._answer, operation, call)

    async def _answer(self, operation: Operation[Any, Any], call: Any) -> Message:  # noqa: ANN401 - grpc's own
        from rune.client.bridge import settled  # noqa: PLC0415 - asyncio takes 20 ms to import, `begin` does without

        try:
            await settled(call)
            answer = call.result()
        except grpc.RpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()
        return codec.read(operation.response, answer)

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        from rune.client.bridge import Arrivals, Feed  # noqa: PLC0415 - as above

        options: dict[str, Any] = {"timeout": timeout, "metadata": self._metadata}
        feed = Feed(requests)
        if operation.streaming is Streaming.BOTH:
            call = self._channel.stream_stream(operation.path)(feed.taken(), **options)
        else:
            first = codec.encode(await anext(requests))
            call = self._channel.unary_stream(operation.path)(first, **options)
        arrivals = Arrivals(call)
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
