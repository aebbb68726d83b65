"""A forked child inherits locks that nobody releases and threads that do not run; it is told here.

It also inherits a module that another thread was importing as one that is being imported for ever. So what is
loaded late is loaded under `importing`, and a fork waits for that.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What wants to hear that it is now in a child."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there."""
        ...


_guests: WeakSet[Forked] = WeakSet()  # the one thing that is shared: Python has no way to take a hook back


def follow(guest: Forked) -> None:
    """Calls `after_fork` of the guest in every forked child, as long as the guest lives."""
    _guests.add(guest)


importing = RLock()
"""Held while a module of ours or of a library is loaded late, by whichever thread."""
LONGEST = 10.0
"""Seconds that a fork waits for that."""
_held: list[bool] = []


def _before() -> None:
    _held.append(importing.acquire(timeout=LONGEST))


def _after() -> None:
    if _held.pop():
        importing.release()


def _in_child() -> None:
    _after()
    for guest in list(_guests):
        guest.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
