"""The server's own log: one event a line on standard error, with what looks like a credential blotted out.

Modules log with the standard library (`logger.info("constant words", extra={…})`); structlog only dresses it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, TextIO, cast

import structlog
from structlog.types import EventDict

from rune.core.redact import BLOT, is_secret_name, redact

LONGEST: Final = 8_192
"""Characters of one value; what is longer is cut off, since a log must not grow by what strangers send."""
DEEPEST: Final = 4
MOST_ITEMS: Final = 100
COPIES: Final = frozenset({"message", "asctime"})
"""What other handlers leave on a record; the event says it already."""


def configure(stream: TextIO, *, level: str = "info", format: str = "json") -> None:
    """Send everything at or above the level to the stream; a second call replaces the first."""
    people = format == "text"
    renderer = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if people
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            blot,
            renderer,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in tuple(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def set_level(level: str) -> None:
    """Log everything at or above the level from now on."""
    logging.getLogger().setLevel(level.upper())


def blot(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The last processor before the words are written."""
    return {name: _clean(name, value, DEEPEST) for name, value in event.items() if name not in COPIES}


def _clean(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if is_secret_name(name):
        return BLOT
    if isinstance(value, str):
        return redact(value[:LONGEST])
    if depth and isinstance(value, Mapping):
        pairs = list(cast("Mapping[object, object]", value).items())[:MOST_ITEMS]
        return {redact(str(key)[:LONGEST]): _clean(str(key), each, depth - 1) for key, each in pairs}
    if depth and isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)[:MOST_ITEMS]
        return [_clean(name, each, depth - 1) for each in items]
    return redact(repr(value)[:LONGEST])
