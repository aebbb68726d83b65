"""How a probe asks an instance: over HTTP, with a connection, or with a command inside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import httptools

from rune import __version__
from rune.api.orchestrator.specs import Probe, ProbeType
from rune.errors import RuneError
from rune.orchestrator.runners.base import Command, HasExec

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

    @property
    def host(self) -> str:
        """Where to connect."""
        return self.probe.host or "127.0.0.1"


class Questioner:
    """Asks; the answer is why the instance is not well, empty when it is."""

    def __init__(self, runners: Mapping[str, HasExec]) -> None:
        self._runners = runners

    async def ask(self, question: Question, seconds: float) -> str:
        """The answer, after so many seconds at most."""
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(question)
        except TimeoutError:
            return f"no answer within {seconds:g} s"
        except (OSError, ValueError) as error:
            return f"{question.host}:{question.port}: {_reason(error)}"
        except RuneError as error:
            return error.message

    async def _ask(self, question: Question) -> str:
        if question.probe.type is ProbeType.EXEC:
            return await self._run(question)
        async with _connection(question) as (reader, writer):
            if question.probe.type is ProbeType.TCP:
                return ""
            writer.write(_request(question))
            return _judged(await _status(reader))

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


@asynccontextmanager
async def _connection(
    question: Question,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(question.host, question.port, limit=MOST_HEAD)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # nobody waits for what is left of the answer


def _reason(error: OSError | ValueError) -> str:
    """The kernel's word for it, without the address that asyncio adds."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error)


def _request(question: Question) -> bytes:
    name = quote(question.host.encode("idna"), safe=":%[]")
    host = f"[{name}]" if ":" in name else name
    lines = (
        f"GET {quote(question.probe.path, safe=LEGAL)} HTTP/1.1",
        f"Host: {host}:{question.port}",
        f"User-Agent: rune-probe/{__version__}",
        "Accept: */*",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of the final answer; 0 for what is not HTTP."""
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)  # scripts end lines as they like
    head.parser = parser
    left = MOST_HEAD
    while not head.status and left > 0:
        data = await reader.read(left)
        left -= len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            break  # its status, if it came so far, is kept
        if not data:
            break
    return head.status


class _Head:
    """Takes the status from a parser, of the final answer and not of one that only says to wait."""

    parser: httptools.HttpResponseParser

    def __init__(self) -> None:
        self.status = 0

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
            self.status = self.status or status


def _judged(status: int) -> str:
    if not status:
        return "the answer is not HTTP"
    return "" if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST else f"HTTP status {status}"
