"""Two who tell the same story: one knows `api/rune.proto` alone, the other paths and JSON."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any, Protocol

import grpc.aio
import httpx
from google.protobuf import json_format

from rune.api import OPERATIONS, Operation
from surface.protoc import Client as Stubs
from surface.protoc import message
from system.clients.script import Json

PATIENCE = 30.0


class Teller(Protocol):
    """One way to ask."""

    async def ask(self, operation: Operation[Any, Any], request: Json, items: int) -> list[Json]:
        """The answer, or the first items of a stream; of a failure its code and its words."""
        ...


def plain(answer: Any) -> Json:
    """A message as JSON, with its zeros."""
    return json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)


class ByStubs:
    """Asks over gRPC."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs

    async def ask(self, operation: Operation[Any, Any], request: Json, items: int) -> list[Json]:
        ask = json_format.ParseDict(request, message(operation.request.__name__))
        method = self._stubs.method(operation.service, operation.method)
        try:
            if not operation.streams:
                return [plain(await method(ask, metadata=self._stubs.metadata, timeout=PATIENCE))]
            return await self._items(method(ask, metadata=self._stubs.metadata, timeout=PATIENCE), items)
        except grpc.aio.AioRpcError as error:
            return [{"code": error.code().value[0], "message": error.details()}]

    async def _items(self, call: Any, items: int) -> list[Json]:
        found: list[Json] = []
        async for item in call:
            found.append(plain(item))
            if len(found) == items:
                call.cancel()
                break
        return found


class ByPaths:
    """Asks over REST, as anybody with curl would."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, operation: Operation[Any, Any], request: Json, items: int) -> list[Json]:
        sent = self._request(operation, request)
        if operation.streams:
            sent.headers["accept"] = "text/event-stream"
            return await self._events(sent, items)
        answer = await self._http.send(sent)
        return [_read(answer)]

    def _request(self, operation: Operation[Any, Any], request: Json) -> httpx.Request:
        left = json.loads(json.dumps(request))
        query: Json = {}
        http = operation.http
        if http is None:  # a watch is its list
            http, query["watch"] = _list_of(operation), "true"
        path = http.path
        for parameter in http.parameters:
            path = path.replace(f"{{{parameter}}}", str(_taken(left, parameter)))
        body = left if http.body == "*" else left.pop(http.body) if http.body else None
        if http.body != "*":
            query |= {name: _text(value) for name, value in left.items()}
        return self._http.build_request(http.verb, path, params=query, json=body)

    async def _events(self, sent: httpx.Request, items: int) -> list[Json]:
        answer = await self._http.send(sent, stream=True)
        found: list[Json] = []
        async with aclosing(answer):
            if answer.is_error:
                await answer.aread()
                return [_read(answer)]
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    found.append(json.loads(line.removeprefix("data: ")))
                if items and len(found) == items:
                    break
        return found


def _list_of(operation: Operation[Any, Any]) -> Any:
    return next(row.http for row in OPERATIONS if row.watch == operation.name)


def _taken(request: Json, parameter: str) -> Any:
    """Take a value out of the request; what is not said means the default."""
    *outer, name = parameter.split(".")
    holder = request[outer[0]] if outer else request
    return holder.pop(name, "default")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={each}" for key, each in value.items())  # pyright: ignore[reportUnknownVariableType] - a selector, whose parts are texts
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(answer: httpx.Response) -> Json:
    told = answer.json()
    return {"code": told["code"], "message": told["message"]} if answer.is_error else told
