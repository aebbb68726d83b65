"""A followed log goes on over a broken connection: no line lost, none twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

import pytest

from rune.api.orchestrator.logs import LogRequest, LogResponse
from rune.cli import logs
from rune.client.client import Client
from rune.errors import Unavailable
from unit.client.plane import BORN


def line(second: int, content: str) -> LogResponse:
    return LogResponse(instance_id="i", timestamp=BORN + timedelta(seconds=second), content=content)


ALL = [line(1, "a"), line(1, "a"), line(1, "b"), line(2, "c"), line(2, "d"), line(3, "e")]


class Breaking:
    """Sends all lines from `since` on, and breaks off after as many as the next number says."""

    def __init__(self, *breaks: int) -> None:
        self.breaks = list(breaks)

    async def stream(self, _operation: object, request: LogRequest) -> AsyncGenerator[LogResponse]:
        lines = [
            item
            for item in ALL
            if not request.since or str(item.timestamp) >= request.since.replace("T", " ")
        ]
        after = self.breaks.pop(0) if self.breaks else len(lines)
        for item in lines[:after]:
            yield item
        if after < len(lines):
            raise Unavailable("the connection broke")


@pytest.mark.parametrize("breaks", [(), (1,), (2,), (3, 1), (4, 1, 1, 2), (5, 2, 1)])
async def test_every_line_is_shown_once(breaks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PAUSE", 0.0)
    client = cast("Client", Breaking(*breaks))
    lines: Any = logs.lines(client, LogRequest(follow=True))
    async with aclosing(lines) as found:
        assert [item.content async for item in found] == [item.content for item in ALL]


async def test_a_log_that_is_not_followed_says_that_it_broke() -> None:
    lines: Any = logs.lines(cast("Client", Breaking(1)), LogRequest())
    with pytest.raises(Unavailable):
        _ = [item async for item in lines]


class Together:
    """Sends lines of one moment in one answer, and breaks off once after the first answer."""

    def __init__(self) -> None:
        self.asks: list[LogRequest] = []

    async def stream(self, _operation: object, request: LogRequest) -> AsyncGenerator[LogResponse]:
        self.asks.append(request)
        yield LogResponse(instance_id="i", timestamp=BORN, content="a", more=["a", "b"])
        if len(self.asks) == 1:
            raise Unavailable("the connection broke")
        yield LogResponse(instance_id="i", timestamp=BORN, content="c", more=["d"])


async def test_lines_that_come_together_are_shown_one_by_one_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "PAUSE", 0.0)
    lines: Any = logs.lines(cast("Client", Together()), LogRequest(follow=True))
    async with aclosing(lines) as found:
        shown = [item async for item in found]
    assert [item.content for item in shown] == ["a", "a", "b", "c", "d"]
    assert not any(item.more for item in shown)
