"""The relay: reads each side, asks the warden, and sends on. Order is kept, and a slow reader slows its
writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rune.mcp.proxy import messages
from rune.mcp.proxy.lines import Lane
from rune.mcp.proxy.messages import Json, Malformed
from rune.mcp.proxy.warden import Outcome, Warden

LARGE = 64 << 10
"""Bytes from which a message is judged in a thread: one side's large message must not stop the other side."""
Judge = Callable[[Json], Outcome]
Say = Callable[[str], None]
MOST_COMPLAINTS = 20
LISTINGS = (b'"tools"', b'"prompts"', b'"resources"', b'"resourceTemplates"')
"""Answers that may lead to writing pins, which waits for the disk."""


class Relay:
    """Carries messages between a client and a server until one of them ends."""

    def __init__(self, client: Lane, server: Lane, warden: Warden, *, say: Say) -> None:
        self._client, self._server, self._warden, self._say = client, server, warden, say
        self._complaints = 0
        self._waiting: set[asyncio.Future[None]] = set()
        """Calls about which somebody is asked."""

    async def upward(self) -> None:
        """From the client to the server, until the client's end; then the server is told that nothing
        comes.
        """
        try:
            async for line in self._client:
                outcome = await self._judged(line, self._warden.from_client)
                if isinstance(outcome, Malformed):
                    await self._client.send(messages.encode(_unreadable(outcome)))
                else:
                    await self._onward(outcome)
                    self._wait_for(outcome)
        except ConnectionError:
            return  # the server is gone; whoever waits for its end knows more
        finally:
            await self._leave()
            await self._server.end()

    def _wait_for(self, outcome: Outcome) -> None:
        """Others go on meanwhile; how many may wait is the business of the Shield."""
        for later in outcome.later:
            task = asyncio.ensure_future(self._decided(later))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _decided(self, later: Callable[[], Awaitable[Outcome]]) -> None:
        with suppress(ConnectionError):  # whoever reads that side knows more
            await self._onward(await later())

    async def _onward(self, outcome: Outcome) -> None:
        """To the server; whoever waits is told what could not be sent."""
        try:
            await _deliver(outcome, self._server, self._client)
        except Malformed as error:
            for each in _each(outcome.onward):
                await self._refuse(messages.mapping(each), error)

    async def _refuse(self, said: dict[str, Json], why: Malformed) -> None:
        identity = messages.key(said.get("id"))
        if "method" in said and identity is not None and self._warden.asked.take(identity):
            says = f"the message cannot be sent to the server: {why}"
            refusal = messages.error(said["id"], messages.INVALID_REQUEST, says)
            await self._client.send(messages.encode(refusal))
        else:
            self._complain(f"a message of the client cannot be sent to the server ({why}): it is left out")

    async def _leave(self) -> None:
        """Nobody waits any more for what somebody is asked about."""
        waiting = list(self._waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def downward(self) -> None:
        """From the server to the client, until the server's end."""
        async for line in self._server:
            outcome = await self._judged(line, self._warden.from_server)
            if isinstance(outcome, Malformed):
                self._complain(f"the server wrote a line that is no message ({outcome}): it is left out")
            else:
                await _deliver(outcome, self._client, self._server)

    async def abandon(self, why: str) -> None:
        """Answer what the client still waits for, in place of a server that is gone."""
        for question in self._warden.asked.drain():
            failure = messages.error(question.identity, messages.GONE, why)
            await self._client.send(messages.encode(failure))

    async def _judged(self, line: bytes, judge: Judge) -> Outcome | Malformed:
        if len(line) > LARGE or any(word in line for word in LISTINGS):
            return await asyncio.to_thread(_read, line, judge)
        return _read(line, judge)

    def _complain(self, what: str) -> None:
        self._complaints += 1
        if self._complaints <= MOST_COMPLAINTS:
            self._say(what)


def _read(line: bytes, judge: Judge) -> Outcome | Malformed:
    try:
        message = messages.decode(line)
    except Malformed as error:
        return error
    if isinstance(message, list) and message:
        return _batch(messages.items(message), judge)
    return judge(message) if isinstance(message, dict) else Malformed("it is no object")


def _batch(batch: list[Json], judge: Judge) -> Outcome:
    """Several messages in one line, as one version of the protocol allows: each is judged by itself."""
    outcomes = [judge(each) for each in batch]
    onward = [each.onward for each in outcomes if each.onward is not None]
    back = [each.back for each in outcomes if each.back is not None]
    later = tuple(each for outcome in outcomes for each in outcome.later)
    return Outcome(onward=onward or None, back=back or None, later=later)


def _each(message: Json) -> list[Json]:
    return messages.items(message) if isinstance(message, list) else [message]


async def _deliver(outcome: Outcome, onward: Lane, back: Lane) -> None:
    if outcome.onward is not None:
        await onward.send(messages.encode(outcome.onward))
    if outcome.back is not None:
        await back.send(messages.encode(outcome.back))


def _unreadable(why: Malformed) -> Json:
    return messages.error(None, messages.PARSE_ERROR, f"Rune cannot read the message: {why}")
