"""The REST door: one ASGI app over the table. Streams are in `streams.py`, pages beside it in `pages.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec

from rune.api import OPERATIONS, Operation, by_name, wirejson
from rune.api.fields import Message
from rune.api.operation import Http
from rune.api.orchestrator import exec  # noqa: A004 - the noun's name
from rune.api.resource import Resource
from rune.api.shape import fields
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.errors import Conflict, InvalidArgument, RuneError, Violation
from rune.server import streams, terminal
from rune.server.answers import encoded
from rune.server.asgi import Receive, Scope, Send
from rune.server.binding import Binding, Pairs, Parts, pairs
from rune.server.callers import RequestIds
from rune.server.drain import Streams
from rune.server.exchange import Exchange
from rune.server.origins import Origins
from rune.server.refusals import NoSuchPath, StaleMatch, WrongMethod
from rune.server.room import Room
from rune.server.routes import Routes
from rune.server.texts import TRUTH

Shortcut = Callable[[bytes], Message | None]
"""Reads a body to the operation's request in one go, and gives None where it takes a closer look."""


class Endpoint:
    """One operation at one place."""

    def __init__(self, operation: Operation[Any, Any], http: Http, shortcut: Shortcut | None = None) -> None:
        self.operation = operation
        self._shortcut = shortcut
        self.binding = Binding(operation, http.parameters, http.body)
        self.takes_body = bool(http.body)
        self.status, self.most_bytes = http.status, http.most_bytes
        self.watch: Endpoint | None = None
        self.resource = _resource(operation.response)
        if operation.watch:
            self.watch = Endpoint(by_name(operation.watch), Http(verb="GET", path=http.path))

    def message(self, parts: Parts) -> Message:
        """The request; raises InvalidArgument with everything that is wrong with it."""
        if self._shortcut is not None and not parts.query and parts.revision is None:
            found = self._shortcut(parts.body)
            if found is not None:
                return found
        return self.binding.message(parts)


class Rest:
    """Serves every operation that has an `Http`, as an ASGI app."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: Clock,
        origins: Origins | None = None,
        *,
        shortcuts: Mapping[str, Shortcut] | None = None,
    ) -> None:
        """A shortcut, by the name of its operation, has to take what the table says, and nothing else."""
        self.dispatcher, self.clock = dispatcher, clock
        self.origins = origins or Origins()
        self._ids = RequestIds(clock)
        self._room = Room()
        self.streams = Streams()
        self._routes: Routes[Endpoint] = Routes()
        for row in OPERATIONS:
            if row.http is not None:
                shortcut = (shortcuts or {}).get(row.name)
                self._routes.add(row.http.verb, row.http.path, Endpoint(row, row.http, shortcut))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever is wrong with it is answered too."""
        if scope["type"] == "websocket":
            await self._terminal(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, request_id=self._ids.next())
        try:
            self.origins.check(exchange.headers)
            await self._serve(exchange)
        except RuneError as failure:
            await exchange.fail(failure)

    async def _serve(self, exchange: Exchange) -> None:
        match = self._routes.find(exchange.path)
        if match is None:
            raise NoSuchPath
        method = exchange.scope["method"]
        endpoint = match.methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise WrongMethod(method, match.methods)
        query = exchange.scope["query_string"]
        endpoint, given = _watched(endpoint, pairs(query) if query else ())
        parts = Parts(
            values=match.values,
            query=given,
            body=await self._body(exchange, endpoint),
            revision=exchange.revision,
            resume=exchange.headers.get("last-event-id", ""),
            known=exchange.headers.get("if-none-match", ""),
        )
        ask = partial(endpoint.message, parts)
        if endpoint.operation.streams:
            await streams.serve(self, exchange, operation=endpoint.operation, ask=ask)
        else:
            await self._unary(exchange, endpoint, ask)

    async def _body(self, exchange: Exchange, endpoint: Endpoint) -> bytes:
        headers = exchange.headers
        if endpoint.takes_body:
            return await exchange.body(endpoint.most_bytes, room=self._room)
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            raise InvalidArgument(f"{endpoint.operation.name} takes no body")
        return b""

    async def _terminal(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, request_id=self._ids.next())
        match = self._routes.find(exchange.path)
        endpoint = match.methods.get("POST") if match and self.origins.knows(exchange.headers) else None
        if match is None or endpoint is None or endpoint.operation is not exec.run:
            await send({"type": "websocket.close", "code": 1008})
            return
        who = exchange.who
        if not who.bearer:
            who = msgspec.structs.replace(who, bearer=terminal.bearer(scope))
        place = terminal.Place(*(unquote(value) for value in match.values))
        await terminal.serve(self, exchange, place=place, who=who)

    async def _unary(self, exchange: Exchange, endpoint: Endpoint, ask: Callable[[], Message]) -> None:
        try:
            answer = await self.dispatcher.call(endpoint.operation, exchange.who, ask)
        except Conflict as failure:
            if "if-match" in exchange.headers:
                raise StaleMatch(failure.message) from failure
            raise
        tag = _etag(endpoint, answer)
        more = (*(((b"etag", tag),) if tag else ()), *exchange.told)
        if tag and exchange.scope["method"] in ("GET", "HEAD") and exchange.knows(tag):
            await exchange.unchanged(more)
            return
        text = encoded(wirejson.encode, answer, exchange.who)
        await exchange.answer(endpoint.status, text, more=more)


def _watched(endpoint: Endpoint, given: Pairs) -> tuple[Endpoint, Pairs]:
    """With `?watch=true` a list becomes the watch that it names."""
    asked = [text for name, text in given if name == "watch"]
    if endpoint.watch is None or not asked:
        return endpoint, given
    wish = TRUTH.get(asked[0].lower())
    if wish is None or len(asked) > 1:
        raise InvalidArgument.of([Violation("watch", "must be true or false, once")])
    return (endpoint.watch if wish else endpoint), [pair for pair in given if pair[0] != "watch"]


def _resource(answer: type[Message]) -> str:
    """The field of an answer that holds its one resource, if that is what it is."""
    holders = [item for item in fields(answer) if item.is_message and issubclass(item.python, Resource)]
    return holders[0].name if len(holders) == 1 and not holders[0].repeated else ""


def _etag(endpoint: Endpoint, answer: Message) -> bytes:
    """The entity tag of an answer: its own, or the revision of the one resource that it holds."""
    own = getattr(answer, "etag", "")
    if own:
        return f'"{own}"'.encode()
    resource = getattr(answer, endpoint.resource) if endpoint.resource else None
    revision = resource.revision if resource is not None else 0
    return f'"{revision}"'.encode() if revision else b""
