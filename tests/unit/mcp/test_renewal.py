"""A session's token is renewed while `rune-mcp` serves, and shared with the command line's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from rune.api.fields import Message
from rune.api.operation import Operation
from rune.api.orchestrator import auth
from rune.client.client import Client
from rune.client.contexts import Context, Contexts, load, save
from rune.core.clock import ManualClock
from rune.errors import Unauthenticated
from rune.mcp.renewal import Renewing
from rune.mcp.settings import settle


class Wire:
    """Servers as the transports see them."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.trades, self.closed, self.is_over = clock, list[str](), list[str](), False

    def connect(self, token: str) -> Fake:
        """A transport with a token."""
        return Fake(self, token)


class Fake:
    """One transport, which answers with its own token."""

    def __init__(self, wire: Wire, token: str) -> None:
        self.wire, self.token = wire, token

    async def unary(self, operation: Operation[Any, Any], request: Message, *, timeout: float) -> Message:
        await asyncio.to_thread(int)
        if operation is not auth.refresh:
            return auth.WhoAmIResponse(subject_name=self.token)
        if self.wire.is_over:
            raise Unauthenticated("invalid refresh token")
        assert not self.token
        self.wire.trades.append(cast("auth.RefreshRequest", request).refresh_token)
        until = int(self.wire.clock.now().timestamp()) + 900
        number = len(self.wire.trades) + 1
        return auth.RefreshResponse(access_token=f"t{number}", refresh_token=f"r{number}", expires_at=until)

    async def stream(
        self, operation: Operation[Any, Any], requests: AsyncIterator[Message], *, timeout: float | None
    ) -> AsyncGenerator[Message]:
        yield auth.WhoAmIResponse(subject_name=self.token)
        yield auth.WhoAmIResponse(subject_name=self.token)

    async def close(self) -> None:
        self.wire.closed.append(self.token)


def kept(tmp_path: Path, clock: ManualClock, seconds: int = 900) -> str:
    """A file with a context whose session's token lasts that long."""
    path = str(tmp_path / "config.yaml")
    ends = str(int(clock.now().timestamp()) + seconds)
    lab = Context(server="lab:7863", token="t1", refresh="r1", expires=ends)
    save(path, Contexts(current="lab", by_name={"lab": lab}))
    return path


async def who(client: Client) -> str:
    """The token that a call showed."""
    return (await client.call(auth.whoami, auth.WhoAmIRequest())).subject_name


async def test_many_calls_at_the_end_of_a_token_trade_it_once_and_keep_the_next(tmp_path: Path) -> None:
    clock = ManualClock()
    wire, path = Wire(clock), kept(tmp_path, clock)
    async with Client(Renewing(path, "lab", connect=wire.connect, clock=clock)) as client:
        assert await who(client) == "t1"
        clock.advance(850)
        assert set(await asyncio.gather(*(who(client) for _ in range(5)))) == {"t2"}
        assert wire.trades == ["r1"]
        assert "t1" in wire.closed
        found = load(path).chosen("lab")
        assert (found.token, found.refresh, found.server) == ("t2", "r2", "lab:7863")


async def test_what_the_command_line_has_renewed_is_taken_over(tmp_path: Path) -> None:
    clock = ManualClock()
    wire, path = Wire(clock), kept(tmp_path, clock)
    async with Client(Renewing(path, "lab", connect=wire.connect, clock=clock)) as client:
        clock.advance(850)
        ends = str(int(clock.now().timestamp()) + 900)
        theirs = Context(server="lab:7863", token="cli", refresh="r-cli", expires=ends)
        save(path, Contexts(current="lab", by_name={"lab": theirs}))
        assert await who(client) == "cli"
        assert not wire.trades


async def test_a_stream_keeps_the_transport_that_it_began_with(tmp_path: Path) -> None:
    clock = ManualClock()
    wire, path = Wire(clock), kept(tmp_path, clock)
    renewing = Renewing(path, "lab", connect=wire.connect, clock=clock)
    answers = renewing.stream(auth.whoami, _nothing(), timeout=None)
    await anext(answers)
    clock.advance(850)
    assert await who(Client(renewing)) == "t2"
    assert "t1" not in wire.closed
    await answers.aclose()
    assert "t1" in wire.closed


async def _nothing() -> AsyncIterator[Message]:
    yield auth.WhoAmIRequest()


async def test_a_session_that_is_over_says_what_to_do(tmp_path: Path) -> None:
    clock = ManualClock()
    wire, path = Wire(clock), kept(tmp_path, clock, seconds=10)
    wire.is_over = True
    with pytest.raises(Unauthenticated, match="rune login --user"):
        await who(Client(Renewing(path, "lab", connect=wire.connect, clock=clock)))


def test_only_a_contexts_own_session_is_renewed(tmp_path: Path) -> None:
    environ = {"RUNE_CLI_CONFIG": kept(tmp_path, ManualClock())}
    assert settle(environ).session == (environ["RUNE_CLI_CONFIG"], "lab")
    assert settle({**environ, "RUNE_TOKEN": "t"}).session is None
    assert settle(environ, server="elsewhere:1").session is None
