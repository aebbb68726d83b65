"""What was made of a resource once and holds for ever: a stored resource never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from rune.api.resource import Resource

T = TypeVar("T")

MOST = 4096
"""Results that are kept; when there are more, all are forgotten."""


class Kept(Generic[T]):
    """Calls the function once for a stored resource, told by identity, and each time for any other."""

    def __init__(self, make: Callable[[Resource], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[Resource, T]] = {}

    def __call__(self, resource: Resource) -> T:
        """What is made of it."""
        known = self._known.get(id(resource))
        if known is not None and known[0] is resource:
            return known[1]
        made = self._make(resource)
        if resource.revision:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[id(resource)] = (resource, made)  # it is held, so its id stays its own
        return made
