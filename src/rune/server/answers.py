"""From a handler's answer to bytes; an answer that cannot be told is an internal failure, not a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rune.api.fields import Message
from rune.core.call import Caller
from rune.errors import Internal

logger = logging.getLogger(__name__)


def encoded(encode: Callable[[Message], bytes], answer: Message, who: Caller) -> bytes:
    """The answer as bytes; raises Internal when a value in it has no place on the wire."""
    try:
        return encode(answer)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        logger.exception(
            "an answer cannot be encoded",
            extra={"answer": type(answer).__name__, "request_id": who.request_id},
        )
        raise Internal(
            f"internal error; the server's log has it under request id {who.request_id}"
        ) from error
