"""`ShieldMiddleware` for FastAPI and any ASGI application: `app.add_middleware(ShieldMiddleware, shield=…)`.

Bodies of requests and query strings are judged before the application sees them, bodies of answers before
the client does; a block is a 403 that says no more than the id of the event. Text is read (JSON, forms,
plain, event streams), binary uploads and compressed bodies are not: put compression outside of this.
What a request calls its body proves nothing, since many applications do not look at it: text is text.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from types import ModuleType
from typing import Any, cast
from urllib.parse import parse_qsl, unquote_plus

from rune.integrations.checkpoint import Checkpoint, beside, refuse_redaction
from rune.integrations.everywhere import Everywhere, patch, require
from rune.integrations.held import End, Held, Part, Text
from rune.policy.values import plain_arguments
from rune.shield.guard import argument_text
from rune.shield.results import ShieldBlockedError
from rune.shield.shield import Shield

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TEXTUAL = ("text/", "application/json", "application/x-www-form-urlencoded", "application/x-ndjson")
_BY_LINE = ("text/event-stream", "application/x-ndjson", "application/jsonl")
_DEEPEST = 16
_CHANNELS = 256
"""Places in the JSON of a stream that are followed each for itself; the rest is read as it comes."""


class ShieldMiddleware:
    """Judges what comes into an application over HTTP and what it answers."""

    def __init__(
        self, app: App, *, shield: Shield, agent_id: str | None = None, paths: tuple[str, ...] = ("/",),
        max_body: int = 1 << 20,
    ) -> None:  # fmt: skip
        """`paths` are beginnings of the paths that are judged; a body over `max_body` bytes is refused."""
        self._app = app
        self._check = Checkpoint(shield, "asgi", agent_id=agent_id)
        self._paths = paths
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or not str(scope["path"]).startswith(self._paths):
            await self._app(scope, receive, send)
            return
        kind = _header(scope.get("headers", ()), b"content-type")
        answer = _Answer(self._check, send, self._max_body)
        with self._check.shield.session():
            try:
                body, is_all = await self._body(receive)
                declared = _is_text(kind, scope.get("headers", ()))
                is_long = len(body) > self._max_body
                if is_long and (declared or _is_readable(body, kind)):
                    await _say(send, 413, {"error": f"the body has more than {self._max_body} bytes"})
                    return
                if body and not is_long:
                    await beside(lambda: self._judge(body, kind, declared=declared))
                receive = _again(body, receive, more=not is_all)
                await beside(lambda: self._query(scope))
                await self._app(scope, receive, answer.send)
            except ShieldBlockedError as error:
                await answer.refuse(error)

    async def _body(self, receive: Receive) -> tuple[bytes, bool]:
        """The body, and whether that is all of it: one that is too long is not read to its end."""
        parts = bytearray()
        while True:
            message = await receive()
            parts += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return bytes(parts), True
            if len(parts) > self._max_body:
                return bytes(parts), False

    def _judge(self, body: bytes, kind: str, *, declared: bool) -> None:
        text = body.decode(json.detect_encoding(body), "replace")
        if kind.startswith("application/x-www-form-urlencoded"):
            text = argument_text([{name: value} for name, value in parse_qsl(text, keep_blank_values=True)])
        else:
            try:
                text = argument_text([json.loads(body)])
            except (ValueError, RecursionError):
                # What is no JSON is judged as it is written; the application will say what is wrong with it.
                text = text if declared else "\n".join(_readable(body, kind))
        self._input(text)

    def _query(self, scope: Scope) -> None:
        self._input(unquote_plus(bytes(scope.get("query_string", b"")).decode("latin-1")))

    def _input(self, text: str) -> None:
        if self._check.input(text) is not text:
            refuse_redaction(self._check)


class _Answer:
    """What the application answers, held back until it was judged."""

    def __init__(self, check: Checkpoint, send: Send, max_line: int) -> None:
        self._check = check
        self._send = send
        self._max_line = max_line
        self._start: Message | None = None
        self._held: Held[Message] | None = None
        self._read: _Reader | None = None
        self._is_refused = False
        self._is_under_way = False

    async def send(self, message: Message) -> None:
        """Passes on what was judged; may raise ShieldBlockedError."""
        if self._is_refused:
            return
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message["type"] != "http.response.body" or self._held is None or self._read is None:
            await self._pass_on(message)
        else:
            for part in self._read.lines(message):
                await self._hold(self._held, part)

    def _begin(self, message: Message) -> None:
        self._start = message
        headers = message.get("headers", ())
        kind = _header(headers, b"content-type")
        if _is_text(kind, headers):
            self._read = _Reader(kind, self._max_line)
            self._held = Held(self._check, self._read)

    async def _hold(self, held: Held[Message], message: Message) -> None:
        try:
            if held.take(message):
                await beside(held.work)
            for free in held.free():
                await self._pass_on(free)
        finally:
            if not message.get("more_body"):
                held.report()

    async def _pass_on(self, message: Message) -> None:
        start, self._start = self._start, None
        if start is not None:
            self._is_under_way = True
            await self._send(start)
        await self._send(message)

    async def refuse(self, error: ShieldBlockedError) -> None:
        """Says 403, or breaks the connection where the answer is under way already."""
        self._is_refused = True
        if self._held is not None:
            self._held.report()
        if self._is_under_way:
            raise error
        outcome = error.scan_result or error.policy_result
        body = {"error": "blocked by Shield", "code": "PERMISSION_DENIED"}
        await _say(self._send, 403, {**body, "eventId": outcome.event_id if outcome else ""})


class _Reader:
    """Reads bodies as text; of streams of lines, whole lines, and each place of their JSON for itself.

    So a word that a stream says in many events is read as one word.
    """

    def __init__(self, kind: str, max_line: int) -> None:
        self._by_line = kind.startswith(_BY_LINE)
        self._max_line = max_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = b""
        self._steady: dict[tuple[object, ...], tuple[str, int] | None] = {}
        """What a place has said from the beginning, and how often; None once it has said something else."""

    def lines(self, message: Message) -> Iterator[Message]:
        """The message, cut where a line ends; the rest goes with what follows."""
        if not self._by_line:
            yield message
            return
        body, more = self._rest + message.get("body", b""), bool(message.get("more_body"))
        end = body.rfind(b"\n") + 1 if more and len(body) < self._max_line else len(body)
        self._rest = body[end:]
        if end or not more:
            yield {**message, "body": body[:end], "more_body": more}

    def __call__(self, message: Message) -> Iterator[Part]:
        """What a message tells."""
        is_last = not message.get("more_body")
        text = self._decoder.decode(message.get("body", b""), final=is_last)
        yield Text(("raw",), text)
        if self._by_line:
            for line in text.splitlines():
                yield from self._line(line)
        if is_last:
            yield End()

    def _line(self, line: str) -> Iterator[Part]:
        data = line.removeprefix("data:").strip() if line.startswith("data:") else line
        try:
            plain = plain_arguments({"": json.loads(data)})
        except (ValueError, RecursionError):
            if line.startswith("data:"):
                yield Text(("data",), line.removeprefix("data:").removeprefix(" "))
            return
        for path, text in _leaves(plain, ()):
            if fresh := self._fresh(path, text):
                yield Text(path, fresh)

    def _fresh(self, path: tuple[object, ...], text: str) -> str:
        """What is new at a place: names and kinds say the same in every event, and would hold it back."""
        steady = self._steady.get(path, ("", 0))
        if steady is None:
            return text
        said, times = steady
        if times and said != text:
            self._steady[path] = None
            return said * times + text
        if times or len(self._steady) < _CHANNELS:
            self._steady[path] = text, times + 1
        return ""


def _leaves(value: object, path: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif len(path) < _DEEPEST:
        rows: Any = ()
        if isinstance(value, dict):
            rows = cast("dict[str, object]", value).items()
        elif isinstance(value, list):
            rows = enumerate(cast("list[object]", value))
        for key, inner in rows:
            yield from _leaves(inner, (*path, key))


def _readable(body: bytes, kind: str) -> Iterator[str]:
    """The texts in a body that does not say that it is one; of a form of many parts, those of its parts."""
    is_form = kind.startswith("multipart/") and body.lstrip().startswith(b"--")
    for part in body.split(b"\r\n--") if is_form else [body]:
        encoding = json.detect_encoding(part)
        errors = "surrogatepass" if encoding.startswith("utf-8") else "strict"
        with suppress(UnicodeError):
            yield codecs.getincrementaldecoder(encoding)(errors).decode(part)


def _is_readable(body: bytes, kind: str) -> bool:
    """Whether the beginning of a long body is that of a text; a form of many parts is an upload."""
    return not kind.startswith("multipart/") and any(_readable(body, kind))


def _again(body: bytes, receive: Receive, *, more: bool) -> Receive:
    """A receive that hands the body out once more, and then what else comes."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": more}
        return await receive()

    return again


def _header(headers: Any, wanted: bytes) -> str:
    return next((value.decode("latin-1").lower() for name, value in headers if name.lower() == wanted), "")


def _is_text(kind: str, headers: Any) -> bool:
    """Whether a body can be read: it is text, and is not compressed."""
    encoded = _header(headers, b"content-encoding") not in {"", "identity"}
    textual = kind.startswith(_TEXTUAL) or kind.partition(";")[0].endswith("+json")
    return textual and not encoded


async def _say(send: Send, status: int, answer: dict[str, str]) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def guard_apps(module: ModuleType, everywhere: Everywhere) -> None:
    """Puts the middleware into every application as it is made, for the paths that were asked for."""
    kind: Any = module.FastAPI
    require(kind, "add_middleware")
    patch(kind, "__init__", lambda theirs: _inside(theirs, everywhere))


def _inside(theirs: Any, everywhere: Everywhere) -> Callable[..., None]:
    def init(self: Any, *args: Any, **more: Any) -> None:
        theirs(self, *args, **more)
        # The first that is added is the innermost: what the program adds, as compression, stays outside.
        self.add_middleware(ShieldMiddleware, shield=everywhere.shield(), paths=everywhere.paths)

    return init
