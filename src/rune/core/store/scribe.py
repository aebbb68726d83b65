"""What is said of a commit in a journal, in the commit's own transaction: both happen, or neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Word(NamedTuple):
    """What is to be said of one commit."""

    text: bytes
    unsaid: Callable[[], None]
    """Called where the commit did not happen, so that the next one may say it."""


class Scribe(Protocol):
    """Writes one journal: an entry for all that becomes durable together."""

    @property
    def journal(self) -> str:
        """The journal's name; nobody else appends to it."""
        ...

    def word(self, operation: str) -> Word | None:
        """What is to be said of this commit of whoever asks now; None for nothing."""
        ...

    def entry(self, texts: Sequence[bytes]) -> bytes:
        """The payload of the next entry. Until it is `written` it counts for nothing: it may not happen."""
        ...

    def written(self, sequence: int) -> None:
        """The last entry is durable."""
        ...
