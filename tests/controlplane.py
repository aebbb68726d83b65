"""A stand-in for the control plane: answers from a script and keeps every byte that it was sent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, NamedTuple, cast

DEADLINE = 10.0


class Answer(NamedTuple):
    """What to say to one request."""

    status: int = 202
    body: bytes = b'{"accepted": 1}'
    headers: dict[str, str] = {}


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Standin:
    """Answers events by `on_events` and bundles by `on_bundle`; both are called in the server's threads."""

    def __init__(self) -> None:
        self.on_events: Callable[[Asked], Answer] = lambda _: Answer()
        self.on_bundle: Callable[[Asked], Answer] = lambda _: Answer(404, b"{}")
        self.bytes = bytearray()
        self.asked: list[Asked] = []
        self.connections = 0
        self.sockets: list[socket.socket] = []
        self._changed = threading.Condition()
        self.url = ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event of every batch so far."""
        batches = [json.loads(asked.body)["events"] for asked in self.asked if asked.method == "POST"]
        return [event for batch in batches for event in batch]

    def wait_for(self, reached: Callable[[], bool]) -> None:
        """Until a condition about what came in holds; fails after ten seconds."""
        with self._changed:
            assert self._changed.wait_for(reached, DEADLINE), "what was waited for did not come"

    def hang_up(self) -> None:
        """Ends every kept connection, as a server or a proxy may at any time."""
        for sock in self.sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def note(self, asked: Asked) -> None:
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()


@contextmanager
def control_plane() -> Generator[Standin]:
    """A stand-in on a free port of the loopback."""
    standin = Standin()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(standin))
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="standin")
    thread.start()
    standin.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(standin: Standin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            standin.connections += 1
            standin.sockets.append(self.connection)
            self.rfile = _Recorder(cast("BinaryIO", self.rfile), standin.bytes)  # pyright: ignore[reportAttributeAccessIssue] - as much of a file as is used

        def do_POST(self) -> None:
            self._answer(standin.on_events)

        def do_GET(self) -> None:
            self._answer(standin.on_bundle)

        def _answer(self, speak: Callable[[Asked], Answer]) -> None:
            size = int(self.headers.get("Content-Length", 0))
            asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(size))
            answer = speak(asked)
            standin.note(asked)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError):
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    return Handler


class _Recorder:
    """A file that remembers what was read of it."""

    def __init__(self, file: BinaryIO, into: bytearray) -> None:
        self._file = file
        self._into = into

    def readline(self, size: int = -1) -> bytes:
        line = self._file.readline(size)
        self._into += line
        return line

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._into += data
        return data

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed
