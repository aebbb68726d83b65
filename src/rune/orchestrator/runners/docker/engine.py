"""Speaks to a Docker Engine over its socket, with a deadline for everything, and in this house's errors.

aiodocker brings the connection (socket, TCP, TLS, SSH), the version of the API and sessions with two
directions. Answers and streams are read here, because aiodocker takes a stream that breaks off for one
that ended: an end of a container, or half an image, would be lost without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rune.errors import FailedPrecondition, Unavailable

if TYPE_CHECKING:  # they take as long to load as a tenth of runed, which a machine without Docker can save
    import aiodocker
    import aiohttp

ANSWER = 60.0
"""Seconds for one answer. A busy Engine that starts many containers at once may well take ten."""

CONNECT = 5.0

LONGEST_LINE = 8 << 20
"""Bytes of one line of a stream of JSON; an Engine that sends more is out of its mind."""

OUT_OF_SERVICE = 503

DYING = ("error while dialing", "transport is closing", "the client connection is closing")
"""Signs that the Engine has lost its containerd, which it does when it starts or ends."""

REFUSALS = 400

Params = Mapping[str, str]

T = TypeVar("T")


class Refused(FailedPrecondition):
    """The Engine understood, and said no; `status` and `reason` are its own."""

    def __init__(self, status: int, reason: str, /, *, what: str) -> None:
        super().__init__(f"the Docker Engine cannot {what}: {reason}")
        self.status = status
        self.reason = reason


class Failure(msgspec.Struct, frozen=True):
    """The body of an error."""

    message: str = ""


class Version(msgspec.Struct, frozen=True):
    """The part of the Engine's version that matters to us."""

    api: str = msgspec.field(name="ApiVersion")


class Engine:
    """One Docker Engine by its address. It may be away: every call says so with Unavailable."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._docker: aiodocker.Docker | None = None
        self._connector: aiohttp.UnixConnector | None = None

    @property
    def docker(self) -> aiodocker.Docker:
        """The open connection pool; raises Unavailable when it is closed."""
        if self._docker is None:
            raise Unavailable("the Docker runner is not started")
        return self._docker

    @property
    def _base(self) -> str:
        """What stands before every path; over a socket the host is a mere word."""
        return "http://docker" if self._connector else self.docker.docker_host

    async def open(self) -> None:
        """Agree on a version of the API; again after each restart of the Engine, which may be another."""
        if self._docker is None:
            self._docker, self._connector = _opened(self.url)
        self._docker.api_version = "auto"
        answer = self._docker.session.get(f"{self._base}/version")
        async with self._reach("tell its version", CONNECT), answer as response:
            body = await response.read()
        self._docker.api_version = f"v{decode(body, Version).api}"

    async def close(self) -> None:
        """Let go of every connection. Twice is fine."""
        if self._docker:
            docker, self._docker = self._docker, None
            await docker.close()
        if self._connector:
            connector, self._connector = self._connector, None
            await connector.close()

    async def call(
        self, method: str, path: str, *, what: str, params: Params | None = None, body: object = None
    ) -> bytes:
        """One answer, whole; `what` completes "the Docker Engine cannot …" in errors."""
        stream = self.stream(method, path, what=what, params=params, body=body)
        async with stream as response, self._reach(what, ANSWER):
            return await response.read()

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Params | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An answer to be read as it comes; raises Refused when there is none, Unavailable in between."""
        docker = self.docker
        url = f"{self._base}/{docker.api_version}/{path}"
        async with self._reach(what, ANSWER):
            response = await docker.session.request(
                method,
                url,
                params=params,
                data=b"" if body is None else msgspec.json.encode(body),
                headers={"Content-Type": "application/json", **(headers or {})},
            )
            if response.status >= REFUSALS:
                await _refuse(response, what)
        try:
            async with self._reach(what, None):
                yield response
        finally:
            response.close()

    @contextlib.asynccontextmanager
    async def _reach(self, what: str, within: float | None) -> AsyncGenerator[None]:
        """Whatever goes wrong on the way to the Engine is Unavailable, with the reason."""
        limit = asyncio.timeout(within)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"the Docker Engine at {self.url} did not {what} within {within:g} s"
            raise Unavailable(message) from error
        except _breaks() as error:
            message = f"the Docker Engine at {self.url} is out of reach: {error or type(error).__name__}"
            raise Unavailable(message) from error


async def chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """What comes, as it comes; raises Unavailable when the connection breaks off before its end."""
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except _breaks() as error:
        raise Unavailable(f"the connection to the Docker Engine broke off: {error}") from error


async def lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Lines of a stream of JSON as they come."""
    rest = b""
    async for chunk in chunks(response):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > LONGEST_LINE:
            raise Unavailable(f"the Docker Engine sent a line of more than {LONGEST_LINE} bytes")
    if rest.strip():
        yield rest


def decode(body: bytes, shape: type[T]) -> T:
    """An answer of the Engine in its shape; raises Unavailable when it is nothing of the kind."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise Unavailable("the Docker Engine's answer is not understood") from error


def _opened(url: str) -> tuple[aiodocker.Docker, aiohttp.UnixConnector | None]:
    """No limit on connections: each follower of logs holds one, and verbs must not wait for them."""
    path = url.removeprefix("unix://")
    if path != url and not os.path.exists(path):
        raise Unavailable(f"the Docker Engine at {url} is out of reach: there is no such socket")
    import aiodocker  # noqa: PLC0415 - see above
    import aiohttp  # noqa: PLC0415 - as above

    connector = aiohttp.UnixConnector(path, limit=0) if path != url else None
    return aiodocker.Docker(url, connector=connector), connector


def _breaks() -> tuple[type[Exception], ...]:
    """What a connection breaks with."""
    import aiohttp  # noqa: PLC0415 - see above

    return aiohttp.ClientError, OSError


async def _refuse(response: aiohttp.ClientResponse, what: str) -> None:
    body = await response.read()
    response.close()
    try:
        reason = msgspec.json.decode(body, type=Failure).message
    except msgspec.MsgspecError:
        reason = ""
    reason = reason or body.decode(errors="replace")[:500] or f"status {response.status}"
    if response.status == OUT_OF_SERVICE or any(sign in reason for sign in DYING):
        raise Unavailable(f"the Docker Engine cannot {what} now: {reason}")
    raise Refused(response.status, reason, what=what)
