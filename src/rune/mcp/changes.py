"""When what stands under an address may have changed: from the watch of its list, else by asking now and
then.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from rune.api import Operation, by_name, wirejson
from rune.api.fields import Message
from rune.client.client import Client
from rune.client.watch import Watched, follow
from rune.errors import DeadlineExceeded, ResourceExhausted, RuneError, Unavailable

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""Between two looks at what the API has no watch of, such as one policy: 12 of 100 reads a minute."""
PAUSE_SECONDS = 5.0
PASSING = (Unavailable, DeadlineExceeded, ResourceExhausted)
"""Failures that may be over in a while."""


async def changes(client: Client, operation: Operation[Any, Any], request: Message) -> AsyncGenerator[None]:
    """One item for each time that it may have changed; raises RuneError once it can never be read again."""
    while True:
        source = _watched if operation.watch else _polled
        try:
            async with aclosing(source(client, operation, request)) as found:
                async for _ in found:
                    yield
        except PASSING as error:
            logger.debug(
                "a subscription pauses", extra={"operation": operation.name, "reason": error.message}
            )
        await asyncio.sleep(PAUSE_SECONDS)
        yield  # what happened meanwhile was not seen


async def _watched(client: Client, operation: Operation[Any, Any], request: Message) -> AsyncGenerator[None]:
    what = Watched(list=operation, watch=by_name(operation.watch))
    async with aclosing(follow(client, what, request)) as found:
        async for change in found:
            if not change.is_first:
                yield


async def _polled(client: Client, operation: Operation[Any, Any], request: Message) -> AsyncGenerator[None]:
    before = await _digest(client, operation, request)
    while True:
        await asyncio.sleep(POLL_SECONDS)
        now = await _digest(client, operation, request)
        if now != before:
            yield
        before = now


async def _digest(client: Client, operation: Operation[Any, Any], request: Message) -> bytes:
    """Of the answer; that there is nothing (any more) is an answer too, unless nobody may ask."""
    try:
        answer = wirejson.encode(await client.call(operation, request))
    except PASSING:
        raise
    except RuneError as error:
        if error.codes.name not in ("NOT_FOUND", "FAILED_PRECONDITION"):
            raise
        answer = error.codes.name.encode()
    return hashlib.sha256(answer).digest()
