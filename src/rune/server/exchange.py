"""One HTTP request and its answer, on plain ASGI."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable

from rune.core.call import Caller
from rune.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    RuneError,
    Unauthenticated,
    Violation,
)
from rune.server.asgi import Receive, Scope, Send
from rune.server.callers import caller
from rune.server.failures import body
from rune.server.origins import SAFE, STRICT
from rune.server.refusals import TooLarge, WrongMediaType, WrongMethod
from rune.server.room import Room

JSON = b"application/json"
MOST_BODY_BYTES = 4 << 20
BODY_SECONDS = 30.0
"""A body that has not arrived by then is given up."""
ETAG = re.compile(r'"([0-9]{1,19})"')
Header = tuple[bytes, bytes]
ALWAYS: list[Header] = [
    *SAFE,
    (b"content-security-policy", b"default-src 'none'"),
    (b"cache-control", b"no-store"),
]


class Exchange:
    """A request that is answered once, whole or as a stream."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        peer = scope.get("client")
        address = peer[0] if peer else "unix"
        shown = scope["state"].get("certificate") if "state" in scope else None
        self.who: Caller = caller(
            "http", request_id, address=address, headers=self.headers, certificate=shown
        )
        self.answered = False

    @property
    def path(self) -> str:
        """The path as it was sent, still percent-encoded."""
        raw = self.scope.get("raw_path")
        return raw.decode("latin-1") if raw else str(self.scope["path"])

    @property
    def told(self) -> tuple[Header, ...]:
        """What the road said beside the answer."""
        return tuple((name.encode(), text.encode()) for name, text in self.who.told.items())

    @property
    def revision(self) -> int | None:
        """What If-Match names; raises InvalidArgument when that is not one of our entity tags."""
        tag = self.headers.get("if-match")
        if tag is None:
            return None
        found = ETAG.fullmatch(tag.strip())
        if found is None:
            raise InvalidArgument.of(
                [Violation("If-Match", 'must be one entity tag as answers give it, such as "812"')]
            )
        return int(found[1])

    def knows(self, tag: bytes) -> bool:
        """If-None-Match names this entity tag."""
        named = self.headers.get("if-none-match", "")
        return named == "*" or tag.decode() in [each.strip().removeprefix("W/") for each in named.split(",")]

    async def body(self, most: int = MOST_BODY_BYTES, *, room: Room) -> bytes:
        """The whole body; raises when it is too large, too slow, or of a type that is not JSON."""
        try:
            with room.taking() as take:
                async with asyncio.timeout(BODY_SECONDS):
                    text = await self._read(most, take)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from error
        if text and not _is_json(self.headers.get("content-type", "")):
            raise WrongMediaType("the body must be JSON: send Content-Type: application/json")
        return text

    async def _read(self, most: int, take: Callable[[int], None]) -> bytes:
        """What comes, as long as it is not too much; a length that is announced is believed."""
        chunks: list[bytes] = []
        size, more = 0, int(self.headers.get("content-length") or 0) <= most
        if not more:
            raise TooLarge(f"the body is larger than {most} bytes")
        while more and size <= most:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise InvalidArgument("the body ended too early")
            chunks.append(message.get("body", b""))
            take(len(chunks[-1]))
            more = message.get("more_body", False)
            size += len(chunks[-1])
        if size > most:
            raise TooLarge(f"the body is larger than {most} bytes")
        return b"".join(chunks)

    async def answer(
        self, status: int, text: bytes, *, kind: bytes = JSON, more: tuple[Header, ...] = ()
    ) -> None:
        """The whole answer."""
        length = (b"content-length", str(len(text)).encode())
        await self.begin(status, kind, (length, *more))
        await self.send({"type": "http.response.body", "body": text})

    async def unchanged(self, more: tuple[Header, ...]) -> None:
        """Only that it is as the caller knows it."""
        await self.begin(304, JSON, more)
        await self.send({"type": "http.response.body", "body": b""})

    async def begin(self, status: int, kind: bytes, more: tuple[Header, ...] = ()) -> None:
        """The answer's head."""
        self.answered = True
        strict = (STRICT,) if self.scope.get("scheme") == "https" else ()
        headers = [
            (b"content-type", kind),
            (b"x-request-id", self.who.request_id.encode()),
            *ALWAYS,
            *strict,
            *more,
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def fail(self, failure: RuneError) -> None:
        """The failure as the answer."""
        text = body(failure, self.who.request_id)
        await self.answer(failure.codes.http, text, more=(*self.told, *_extras(failure)))


def _extras(failure: RuneError) -> tuple[Header, ...]:
    if isinstance(failure, Unauthenticated):
        return ((b"www-authenticate", b'Bearer realm="rune"'),)
    if isinstance(failure, ResourceExhausted):
        more = ((name.encode(), text.encode()) for name, text in failure.headers.items())
        return ((b"retry-after", str(max(1, math.ceil(failure.retry_after))).encode()), *more)
    if isinstance(failure, WrongMethod):
        return ((b"allow", failure.allowed.encode()),)
    return ()


def _is_json(kind: str) -> bool:
    kind, _, parameters = kind.lower().partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"')
    return kind.strip() == "application/json" and charset in ("", "utf-8", "utf8")
