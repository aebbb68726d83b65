"""Events as they come in: each once, in order, resumable, and shown by `rune events tail` across breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from planes import turn
from promises import promise
from rune.api.fields import Message
from rune.api.operation import Operation
from rune.api.security import events as api
from rune.cli.events import followed
from rune.client.client import Client
from rune.client.local import LocalTransport
from rune.core.call import Caller
from rune.errors import OutOfRange, PermissionDenied, Unavailable
from secured import Secured, event, injection

pytestmark = promise("security.tail")

PATIENCE = 10.0


class Breaking(LocalTransport):
    """A connection that can be broken."""

    def __init__(self, plane: Secured, key: str = "") -> None:
        super().__init__(
            plane.dispatcher,
            lambda: Caller(edge="local", request_id="t-1", bearer="" if key else plane.token, api_key=key),
        )
        self.broken = asyncio.Event()
        self.streams = 0

    async def stream(
        self, operation: Operation[Any, Any], requests: Any, *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        self.streams += 1
        self.broken.clear()
        end = asyncio.ensure_future(self.broken.wait())
        try:
            async with aclosing(super().stream(operation, requests, timeout=timeout)) as answers:
                while True:
                    step = asyncio.ensure_future(anext(answers))
                    await asyncio.wait((step, end), return_when=asyncio.FIRST_COMPLETED)
                    if end.done():
                        step.cancel()
                        await asyncio.gather(step, return_exceptions=True)
                        raise Unavailable("the connection broke")
                    yield step.result()
        finally:
            end.cancel()


async def send(plane: Secured, *events: dict[str, Any]) -> None:
    async with plane.client() as http:
        assert (await http.post("/v1/events", json={"events": list(events)})).status_code == 202


async def test_what_is_there_comes_first_and_then_every_event_once_across_a_break(plane: Secured) -> None:
    await send(plane, *(event(event_id=f"old-{number}") for number in range(4)))
    carrier = Breaking(plane)
    client = Client(carrier)
    async with asyncio.timeout(PATIENCE):
        tail = followed(client, api.TailEventsRequest(), before=2)
        async with aclosing(tail):
            found = [(await anext(tail)).event_id for _ in range(2)]
            await send(plane, event(event_id="new-1"), event(event_id="new-2"))
            found += [(await anext(tail)).event_id for _ in range(2)]
            waiting = asyncio.ensure_future(anext(tail))
            await turn()
            carrier.broken.set()
            await send(plane, event(event_id="new-3"))
            found.append((await waiting).event_id)
    assert found == ["old-2", "old-3", "new-1", "new-2", "new-3"]
    assert carrier.streams == 2


async def test_only_events_that_match_are_told(plane: Secured) -> None:
    client = Client(Breaking(plane))
    ask = api.TailEventsRequest(agent_id="mail", blocked=True)
    async with asyncio.timeout(PATIENCE), aclosing(client.stream(api.tail, ask)) as answers:
        begun = await anext(answers)
        await send(plane, event(agent_id="mail"), injection(agent_id="other"), injection(agent_id="mail"))
        found = await anext(answers)
    assert begun.event is None
    assert found.event
    assert (found.event.agent_id, found.event.verdict) == ("mail", "blocked")
    assert found.revision == begun.revision + 3


async def test_a_key_of_one_agent_follows_no_other(plane: Secured) -> None:
    key = await plane.key(agent_id="mail")
    client = Client(Breaking(plane, key))
    with pytest.raises(PermissionDenied, match="'mail' alone"):
        await anext(client.stream(api.tail, api.TailEventsRequest(agent_id="other")))


async def test_a_position_that_was_never_reached_is_refused(plane: Secured) -> None:
    client = Client(Breaking(plane))
    with pytest.raises(OutOfRange, match="there is no event 7 yet, 0 is the newest"):
        await anext(client.stream(api.tail, api.TailEventsRequest(resume=7)))
