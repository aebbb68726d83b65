"""How a probe asks an instance: over HTTP, with a connection, or with a command inside it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import quote

import httptools

from rune import __version__
from rune.api.orchestrator.specs import Probe, ProbeType
from rune.errors import RuneError
from rune.orchestrator.runners.base import Command, HasExec, Observed

HTTPS: Final = "https"
MOST_HEAD: Final = 16 << 10
"""Bytes that are read of an answer; its body is not needed, and its head is no longer than this."""
LEGAL: Final = "/?&=%:@!$'()*+,;~[]#"
"""What a path may hold besides letters and digits; everything else is sent as %XX."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One probe of one instance."""

    instance: str
    runner: str
    probe: Probe
    port: int = 0
    address: str = ""
    """The instance's own; the machine's when empty."""

    @property
    def host(self) -> str:
        """Where to connect."""
        return self.probe.host or self.address or "127.0.0.1"


class Runs(HasExec, Protocol):
    """A runner that can say where an instance is, and run commands in it."""

    def observe(self, instance: str) -> Observed:
        """What is known now."""
        ...


class Questioner:
    """Asks; the answer is why the instance is not well, empty when it is."""

    def __init__(self, runners: Mapping[str, Runs]) -> None:
        self._runners = runners

    async def ask(self, question: Question, seconds: float) -> str:
        """The answer, after so many seconds at most."""
        runner = self._runners.get(question.runner)
        seen = runner.observe(question.instance).address if runner else ""
        if seen:  # a container has another address after each start
            question = replace(question, address=seen)
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(question)
        except TimeoutError:
            return f"no answer within {seconds:g} s"
        except (OSError, ValueError) as error:
            return f"{question.host}:{question.port}: {_reason(error)}{_advice(question, error)}"
        except RuneError as error:
            return error.message

    async def _ask(self, question: Question) -> str:
        if question.probe.type is ProbeType.EXEC:
            return await self._run(question)
        return await _connect(question)

    async def _run(self, question: Question) -> str:
        runner = self._runners.get(question.runner)
        if runner is None:
            return f"runner {question.runner!r} cannot run commands"
        session = await runner.exec(question.instance, Command(command=question.probe.command))
        try:
            await session.end_input()
            async for _ in session.output():
                pass  # a command that nobody reads would wait for ever
            code = await session.wait()
        finally:
            await session.close()
        return f"the command exited with code {code}" if code else ""


async def _connect(question: Question) -> str:
    """What a fresh connection shows; it is cut off as soon as that is known."""
    loop = asyncio.get_running_loop()
    asks_http = question.probe.type is ProbeType.HTTP
    is_secret = asks_http and question.probe.scheme == HTTPS
    transport, answer = await loop.create_connection(
        lambda: Answer(loop.create_future()),
        question.host,
        question.port,
        ssl=_unchecked() if is_secret else None,
    )
    try:
        if not asks_http:
            return ""
        transport.write(_request(question))
        return _judged(await answer.status)
    finally:
        transport.abort()


@cache
def _unchecked() -> ssl.SSLContext:
    """TLS that takes any certificate: a copy's own is seldom signed, and names no address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Answer(asyncio.Protocol):
    """Takes the status from an HTTP answer: of the final one, not of one that only says to wait."""

    def __init__(self, status: asyncio.Future[int]) -> None:
        self.status = status
        """0 for what is not HTTP."""
        self._left = MOST_HEAD
        self._parser = httptools.HttpResponseParser(self)
        # Scripts end lines as they like.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    def data_received(self, data: bytes) -> None:
        """Read on until the status is there, or can come no more."""
        if self.status.done():
            return
        try:
            self._parser.feed_data(data[: self._left])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is(0)  # it stays what it is if it came before
        self._left -= len(data)
        if self._left <= 0:
            self._is(0)

    def connection_lost(self, exc: Exception | None) -> None:
        """There will be no more."""
        self._is(0)

    def on_headers_complete(self) -> None:
        """The parser has seen a head."""
        status = self._parser.get_status_code()
        if status >= HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._is(status)

    def _is(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)


def _reason(error: OSError | ValueError) -> str:
    """The kernel's word for it, without the address that asyncio adds."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error)


def _advice(question: Question, error: OSError | ValueError) -> str:
    """A process that listens on 127.0.0.1 alone is the usual reason, and hard to see."""
    if not isinstance(error, ConnectionRefusedError) or question.runner != "process" or not question.address:
        return ""
    return " (it must listen on the address in its HOST, or on every address)"


def _request(question: Question) -> bytes:
    name = quote(question.host.encode("idna"), safe=":%[]")
    host = f"[{name}]" if ":" in name else name
    headers = {
        "Host": f"{host}:{question.port}",
        "User-Agent": f"rune-probe/{__version__}",
        "Accept": "*/*",
    }
    said = {name.title(): text for name, text in question.probe.headers.items()}
    lines = [f"{name}: {text}" for name, text in {**headers, **said, "Connection": "close"}.items()]
    first = f"GET {quote(question.probe.path, safe=LEGAL)} HTTP/1.1"
    return "\r\n".join((first, *lines, "", "")).encode()


def _judged(status: int) -> str:
    if not status:
        return "the answer is not HTTP"
    return "" if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST else f"HTTP status {status}"
