"""The line to the control plane: one kept HTTP/1.1 connection of the standard library, for one thread."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from rune.shield import forks
from rune.shield.options import ShieldConfig
from rune.version import __version__

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

MAX_BUNDLE = 16 << 20
MAX_ANSWER = 64 << 10


class Unreachable(Exception):
    """There was no answer, or none that is HTTP; the reason is one word for the counters."""


class Reply(NamedTuple):
    """An answer; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait, at most five minutes; dates count as none."""
        text = self.headers.get("retry-after", "")
        return min(float(text), 300.0) if text.isascii() and text.isdigit() else None


class Line:
    """Asks the control plane. Redirects are not followed: the key goes to the endpoint and nowhere else."""

    def __init__(self, config: ShieldConfig) -> None:
        parts = urlsplit(config.endpoint)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._base = parts.path.rstrip("/")
        self._timeout = config.connection_timeout_seconds
        self._ca_file = config.ca_file
        self._shown = (config.cert_file, config.key_file)
        self._headers = {"X-Rune-Key": config.api_key or "", "User-Agent": f"runesec/{__version__}"}
        self._kept: HTTPConnection | None = None
        self._aborted = False

    def ask(
        self, method: str, path: str, *, body: bytes | None = None,
        headers: Mapping[str, str] | None = None, wait: float = 0.0,
    ) -> Reply:  # fmt: skip
        """The answer; raises Unreachable. `wait` is how much longer than usual the server may take."""
        with forks.importing:
            "".encode("idna")  # loads what the first look-up of a host would load
            from http.client import HTTPException  # noqa: PLC0415 - the thread that sends pays for it
        fresh = self._kept is None
        try:
            return self._ask(method, path, body=body, headers=headers or {}, wait=wait)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            if not fresh and not self._aborted and not isinstance(error, TimeoutError):
                # A kept connection that the other side has closed meanwhile, or that slept through a freeze.
                return self.ask(method, path, body=body, headers=headers, wait=wait)
            raise Unreachable(_reason(error)) from error

    def _ask(
        self, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str], wait: float
    ) -> Reply:
        connection = self._kept = self._kept or self._connection()
        if self._socket is None:
            connection.connect()  # sets TCP_NODELAY
        if self._socket is not None:
            self._socket.settimeout(self._timeout + wait)
        sent = {**self._headers, **headers, **({"Content-Type": "application/json"} if body else {})}
        connection.request(method, self._base + path, body=body, headers=sent)
        answer = connection.getresponse()
        read = _all(answer, MAX_ANSWER if body else MAX_BUNDLE, time.monotonic() + self._timeout)
        if answer.will_close:
            self.close()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, read)

    def _connection(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - as in `ask`

        if not self._secure:
            return HTTPConnection(self._host, self._port, timeout=self._timeout)
        with forks.importing:
            import ssl  # noqa: PLC0415 - as in `ask`

        trusting = ssl.create_default_context(cafile=self._ca_file)
        certificate, key = self._shown
        if certificate:
            trusting.load_cert_chain(certificate, key)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=trusting)

    def abort(self) -> None:
        """Ends a wait of another thread for an answer; that thread sees Unreachable."""
        self._aborted = True
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):  # the other side was quicker
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def _socket(self) -> socket.socket | None:
        kept = self._kept
        return cast("socket.socket | None", kept.sock) if kept is not None else None

    def close(self) -> None:
        """Drops the connection; the next question makes a new one. In a forked child the parent's stays."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


def _all(answer: HTTPResponse, limit: int, deadline: float) -> bytes:
    """The body; raises ValueError past the limit and TimeoutError past the deadline."""
    parts: list[bytes] = []
    size = 0
    while part := answer.read1(65_536):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ValueError("the answer is too long")
        if time.monotonic() > deadline:
            raise TimeoutError
    answer.close()  # read1 leaves an answer open that was read to its end, and the connection with it
    return b"".join(parts)


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionError() | socket.gaierror():
            return "unreachable"
        case OSError():
            return "tls" if "SSL" in type(error).__name__ else "unreachable"
        case _:
            return "garbage"
