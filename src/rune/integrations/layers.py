"""Layers: where a guarded framework speaks through a guarded client, the outer one judges.

The inner one lets pass, so a text is scanned once. Two Shields in one program both judge.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from rune.shield.shield import Shield

E = TypeVar("E")
_above: ContextVar[tuple[Shield, ...]] = ContextVar("rune_layers", default=())


def is_judged_above(shield: Shield) -> bool:
    """Whether this Shield judges already what is being asked and answered here."""
    return any(each is shield for each in _above.get())


@contextmanager
def judged_by(shield: Shield) -> Generator[None]:
    """While a model is asked whose question and answer this Shield judges; never while a tool runs."""
    before = _above.get()
    _above.set((*before, shield))
    try:
        yield
    finally:
        _above.set(before)  # no token: a stream may be closed from another task


def stepping(shield: Shield, source: Iterator[E]) -> Generator[E]:
    """The stream, each step of it under the Shield; who reads it is not, between the steps."""
    try:
        while True:
            with judged_by(shield):
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item
    finally:
        close: Any = getattr(source, "close", None)
        if close is not None:
            close()


async def astepping(shield: Shield, source: AsyncIterator[E]) -> AsyncGenerator[E]:
    """As `stepping`."""
    try:
        while True:
            with judged_by(shield):
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        close: Any = getattr(source, "aclose", None)
        if close is not None:
            await close()
