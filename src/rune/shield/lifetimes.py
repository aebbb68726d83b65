"""What outlives a Shield, or must not: all of it holds the Shield weakly and keeps none alive."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from rune.policy.scanners.finding import Finding

if TYPE_CHECKING:
    from rune.shield.afterthoughts import Thought
    from rune.shield.sender import Sender
    from rune.shield.sync import Sync


class Mortal(Protocol):
    """A Shield, as far as its end concerns."""

    def close(self) -> None:
        """End it."""
        ...

    def tell_verdict(self, thought: Thought, found: list[Finding]) -> None:
        """Report what the judge said late."""
        ...


def telling(shield: weakref.ref[Mortal]) -> Callable[[Thought, list[Finding]], None]:
    """Hands a late verdict to a Shield that is still there; it keeps none alive."""

    def tell(thought: Thought, found: list[Finding]) -> None:
        there = shield()
        if there is not None:
            there.tell_verdict(thought, found)

    return tell


def farewell(shield: weakref.ref[Mortal]) -> Callable[[], None]:
    """What the end of the process does with a Shield that is still there; it keeps none alive."""

    def close() -> None:
        found = shield()
        if found is not None:
            found.close()

    return close


def let_go(sender: Sender, sync: Sync | None, at_exit: Callable[[], None]) -> None:
    """After a Shield that nobody closed was collected: its threads end by themselves."""
    atexit.unregister(at_exit)
    if sync is not None:
        sync.stop(0)
    sender.close(0)
