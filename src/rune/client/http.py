"""The transport over REST: paths, queries and bodies as `Http` says, streams as Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import httpx
import msgspec

from rune.api import by_name, wirejson
from rune.api.fields import Message
from rune.api.operation import Http, Operation
from rune.api.shape import Field, fields
from rune.api.validate import build
from rune.client.client import credential
from rune.client.failures import failure
from rune.client.trust import Trust, refuse_plain
from rune.errors import (
    FAILURES,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    RuneError,
    Unavailable,
    Unimplemented,
    Violation,
)

_BY_HTTP = {kind.codes.http: kind.codes.grpc for kind in reversed(FAILURES)}
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
SILENCE_SECONDS = 60.0
"""A stream that says nothing for so long, not even that it is alive (each 15 s), is given up."""


class Parts(NamedTuple):
    """A request of HTTP."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes


class HttpTransport:
    """One pool of connections to one server, such as `http://127.0.0.1:7861`.

    Raises FailedPrecondition where the token would travel unencrypted, unless `insecure` allows that.
    """

    def __init__(
        self,
        base: str,
        *,
        token: str = "",
        organization: str = "",
        trust: Trust | None = None,
        insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if transport is None and not base.startswith("https://"):
            refuse_plain(base, token, insecure=insecure)
        verify = trust.context() if trust is not None else True
        headers = credential(token, organization)
        self._base = base
        self._http = httpx.AsyncClient(
            base_url=base, headers=headers, verify=verify, transport=transport, trust_env=False
        )

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        parts = split(operation, request)
        try:
            answer = await self._http.send(self._request(parts, timeout=httpx.Timeout(timeout)))
        except httpx.HTTPError as error:
            raise self._failed(error, operation) from error
        if answer.is_error:
            raise _refusal(answer)
        return _read(operation.response, answer.content)

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        parts = split(operation, await anext(requests))
        patience = min(timeout or SILENCE_SECONDS, SILENCE_SECONDS)
        limits = httpx.Timeout(30.0, read=patience)
        request = self._request(parts, timeout=limits, accept="text/event-stream")
        try:
            answer = await self._http.send(request, stream=True)
            async with aclosing(answer):
                await _accept(answer)
                async for data in _items(answer.aiter_lines()):
                    yield _read(operation.response, data.encode())
        except httpx.ReadTimeout as error:
            if patience != timeout:  # nobody wanted it to end: the server is gone, or the way to it
                raise Unavailable(f"nothing is heard of {self._base} any more") from error
            raise self._failed(error, operation) from error
        except httpx.HTTPError as error:
            raise self._failed(error, operation) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def _request(
        self, parts: Parts, *, timeout: httpx.Timeout, accept: str = "application/json"
    ) -> httpx.Request:
        headers = {"accept": accept} | ({"content-type": "application/json"} if parts.body else {})
        return self._http.build_request(
            parts.verb,
            parts.path,
            params=parts.query or None,
            content=parts.body or None,
            headers=headers,
            timeout=timeout,
        )

    def _failed(self, error: httpx.HTTPError, operation: Operation[Any, Any]) -> RuneError:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return DeadlineExceeded(f"{operation.name} took too long")
        return Unavailable(f"cannot reach {self._base}: {error or type(error).__name__}")


def split(operation: Operation[Any, Any], request: Message) -> Parts:
    """The request as HTTP says it; raises Unimplemented for an operation that REST does not have."""
    http = _http(operation)
    plain = wirejson.to_plain(request)
    path = http.path
    for name in http.parameters:
        value = _value(request, name) or ("default" if name.endswith("namespace") else "")
        path = path.replace(f"{{{name}}}", quote(str(value), safe="*"))
    if http.body == "*":
        return Parts(http.verb, path, (), msgspec.json.encode(plain))
    taken = {*http.parameters, http.body}
    pairs = _query(type(request), request, "")
    query = [pair for pair in pairs if not taken & {pair[0], pair[0].partition(".")[0]}]
    if operation.name != _first(operation):
        query.append(("watch", "true"))
    json = {field.name: field.json for field in fields(type(request))}
    body = msgspec.json.encode(plain[json[http.body]]) if http.body else b""
    return Parts(http.verb, path, tuple(query), body)


def _http(operation: Operation[Any, Any]) -> Http:
    """Where it is served; a watch is its list, with `?watch=true`."""
    http = by_name(_first(operation)).http
    if http is None:
        raise Unimplemented(f"{operation.method} is not served over REST: use the gRPC address")
    return http


def _first(operation: Operation[Any, Any]) -> str:
    from rune.api import OPERATIONS  # noqa: PLC0415 - the whole table, which other transports do without

    if operation.http is not None:
        return operation.name
    return next((row.name for row in OPERATIONS if row.watch == operation.name), operation.name)


def _value(request: Message, dotted: str) -> Any:  # noqa: ANN401 - a field of any type
    value: Any = request
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def _query(model: type[Message], message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    """Every scalar, list and selector that is not its default, under its dotted name."""
    for field in fields(model):
        value = getattr(message, field.name)
        if value is None or value == field.default:
            continue
        name = f"{prefix}{field.wire}"
        if field.is_message and not field.repeated:
            yield from _query(field.python, value, f"{name}.")
        elif field.mapping:
            yield name, ",".join(f"{key}={text}" for key, text in value.items())
        elif field.repeated:
            yield from ((name, _text(item)) for item in value)
        else:
            yield name, _text(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _accept(answer: httpx.Response) -> None:
    """Raise the failure that the answer tells of, if it does."""
    if answer.is_error:
        await answer.aread()
        raise _refusal(answer)


async def _items(lines: AsyncIterator[str]) -> AsyncGenerator[str]:
    """The data of the events; an event that is a failure is raised."""
    async for name, data in _events(lines):
        if name == "error":
            body = msgspec.json.decode(data, type=_Body)
            raise failure(body.code, body.message, **_told(body))
        yield data


async def _events(lines: AsyncIterator[str]) -> AsyncGenerator[tuple[str, str]]:
    """The events of a stream: name and data."""
    name, data = "", list[str]()
    async for line in lines:
        word, _, rest = line.partition(":")
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
        elif word == "event":
            name = rest.removeprefix(" ")
        elif word == "data":
            data.append(rest.removeprefix(" "))


def _read(model: type[Message], text: bytes) -> Message:
    try:
        plain = _known(model, wirejson.parse(text))
        return build(model, wirejson.from_plain(model, plain))
    except InvalidArgument as error:
        raise Internal(
            f"the server's answer is not a {model.__name__} that this client understands"
        ) from error


def _known(model: type[Message], data: dict[str, Any]) -> dict[str, Any]:
    """The data without what this client has no field for: a server may be newer."""
    by_name = {name: field for field in fields(model) for name in (field.wire, field.json)}
    return {key: _known_value(by_name[key], value) for key, value in data.items() if key in by_name}


def _known_value(field: Field, value: Any) -> Any:  # noqa: ANN401 - decoded JSON
    if not field.is_message:
        return value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_known_value(field, item) for item in items]
    return _known(field.python, cast("dict[str, Any]", value)) if isinstance(value, dict) else value


class _Detail(msgspec.Struct):
    """One of the details of `google.rpc.Status`, as protobuf's JSON shows it."""

    type: str = msgspec.field(name="@type", default="")
    field_violations: list[dict[str, str]] = msgspec.field(
        name="fieldViolations", default_factory=list[dict[str, str]]
    )
    metadata: dict[str, str] = {}


class _Body(msgspec.Struct):
    """The body of a failure."""

    code: int = 0
    message: str = ""
    details: list[_Detail] = []


def _refusal(answer: httpx.Response) -> RuneError:
    """The failure that an answer tells of; something that is not ours may stand between and answer."""
    try:
        body = msgspec.json.decode(answer.content, type=_Body)
    except msgspec.MsgspecError:
        body = _Body()
    code = body.code or _BY_HTTP.get(answer.status_code, Internal.codes.grpc)
    message = body.message or f"the server answered with HTTP status {answer.status_code}"
    retry = answer.headers.get("retry-after", "")
    found: dict[str, Any] = {"retry_after": float(retry)} if retry.isdecimal() else {}
    return failure(code, message, **found, **_told(body))


def _told(body: _Body) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for detail in body.details:
        if detail.type == _BAD_REQUEST:
            rows = detail.field_violations
            told["violations"] = [Violation(row.get("field", ""), row.get("description", "")) for row in rows]
        oldest = detail.metadata.get("oldest", "")
        if detail.type == _ERROR_INFO and oldest.isdecimal():
            told["oldest"] = int(oldest)
    return told
