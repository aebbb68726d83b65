"""Room for the bodies of requests that are still coming, all of them together.

A body is read before anybody asks who sent it, so strangers on many connections could fill the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rune.errors import Unavailable

MOST_BYTES: Final = 256 << 20


class Room:
    """So many bytes at a time."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._left = most

    @contextmanager
    def taking(self) -> Generator[Callable[[int], None]]:
        """What one body takes, piece by piece, until the block ends; raises Unavailable without room."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._left:
                raise Unavailable("the server has no room for more requests that are still coming: try again")
            self._left -= size
            taken += size

        try:
            yield take
        finally:
            self._left += taken
