"""A forked child inherits locks that nobody releases and threads that do not run; it is told here."""

from __future__ import annotations

import os
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


def _in_child() -> None:
    for guest in list(_guests):
        guest.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
