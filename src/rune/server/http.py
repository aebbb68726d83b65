"""The HTTP door: uvicorn around the app, with limits on heads, connections and patience."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rune.errors import RuneError, Unavailable
from rune.server import tls
from rune.server.asgi import Asgi
from rune.server.drain import Streams
from rune.server.failures import body
from rune.server.refusals import TooLarge

MOST_HEAD_BYTES = 32 << 10
BACKLOG = 2048
HEAD_SECONDS = 10.0
"""A connection that has not sent a whole head by then is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How the door opens."""

    host: str = "127.0.0.1"
    port: int = 7861
    """0 takes a free one."""
    most_connections: int = 2000
    keep_alive_seconds: int = 60
    tls: ssl.SSLContext | None = None
    """With it the port speaks TLS alone."""


class HttpDoor:
    """Serves an ASGI app, from `open` to `close`."""

    def __init__(self, app: Asgi, streams: Streams, options: HttpOptions) -> None:
        self._streams, self._options = streams, options
        self._server = uvicorn.Server(_config(app, options))
        self._socket: socket.socket | None = None

    async def open(self) -> int:
        """Begin to serve and say on which port; raises Unavailable when the address cannot be had."""
        host, port = self._options.host, self._options.port
        try:
            self._socket = _listening(host, port)
        except OSError as error:
            why = f"{error.strerror}: is another server there?"
            raise Unavailable(f"cannot listen for HTTP on {host}:{port}: {why}") from error
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._socket])
        return int(self._socket.getsockname()[1])

    async def close(self, grace: float) -> None:
        """Refuse new connections, end the streams, and give the other requests `grace` seconds to end."""
        if self._socket is not None:
            self._streams.end()
            self._server.config.timeout_graceful_shutdown = max(1, round(grace))
            await self._server.shutdown(sockets=[self._socket])
            self._socket = None


def _listening(host: str, port: int) -> socket.socket:
    """A socket that says it is TCP: asyncio sends small pieces at once only where it knows that."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def _config(app: Asgi, options: HttpOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Guarded,
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        lifespan="auto",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=options.most_connections,
        timeout_keep_alive=options.keep_alive_seconds,
        ssl_context_factory=_handing_out(options.tls) if options.tls else None,
    )


def _handing_out(context: ssl.SSLContext) -> Callable[[object, object], ssl.SSLContext]:
    """Uvicorn makes contexts of paths by itself; ours is made already."""

    def hand_out(_config: object, _usual: object) -> ssl.SSLContext:
        return context

    return hand_out


class Guarded(HttpToolsProtocol):
    """Uvicorn's protocol, with a limit on the size of a head and on the time it may take.

    What follows the last piece of a body (trailers, which nobody here reads) has the same limit of size.
    """

    _received = 0
    """Since a request, or a piece of a body, was complete."""
    _parsed = 0
    _in_head = True
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and (shown := secured.getpeercert(binary_form=True)):
            # Of the connection: what it upgrades to, a WebSocket, gets it as well.
            self.app_state = {**self.app_state, "certificate": tls.peer(shown)}
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._received > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        self._in_head, self._parsed = True, 0
        if self._patience is None:
            self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._parsed += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed += len(name) + len(value) + 4
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        if self._parsed > MOST_HEAD_BYTES:
            raise OverflowError  # the parser stops, and asks for an answer with send_400_response
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._received = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._received = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._parsed > MOST_HEAD_BYTES:
            self._refuse_head()
        else:
            self._refuse(400, TooLarge(msg))

    def _refuse_head(self) -> None:
        self._refuse(431, TooLarge(f"the request's head is larger than {MOST_HEAD_BYTES} bytes"))

    def _refuse(self, status: int, failure: RuneError) -> None:
        text = body(failure, "")
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + text)
        self.transport.close()

    def _expect_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
