"""The store's interface. Reads are memory, the log is truth.

A backend keeps an image of every resource in memory and answers reads from it at once; a write is
acknowledged when it is durable, and only then shows in reads and watches. Every commit takes the
next revision of one ordered log, whatever kinds it touches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, Self, TypeVar

import msgspec

from rune.api.resource import Key, Resource
from rune.core.store.scribe import Scribe

R = TypeVar("R", bound=Resource)


class Put(msgspec.Struct, frozen=True):
    """Write a resource. `value.revision` is the revision it was read at, 0 to create it.

    The commit raises Conflict when the stored revision is another, AlreadyExists when it should have
    been created and is there, NotFound when it is gone. The store keeps a copy that has been through
    JSON, so a value that would not load again (a wrong type, a NaN) raises InvalidArgument instead.
    """

    value: Resource


class Delete(msgspec.Struct, frozen=True):
    """Remove a resource that was read at `revision`; 0 removes whatever is there.

    The commit raises Conflict when the stored revision is another, NotFound when it is gone.
    """

    key: Key
    revision: int = 0


Write = Put | Delete


class Mutation(msgspec.Struct, frozen=True, gc=False):
    """One resource's part of a change. `after` is None when it was deleted, `before` when created."""

    key: Key
    before: Resource | None
    after: Resource | None


class Change(msgspec.Struct, frozen=True, gc=False):
    """One commit as watchers see it: all of its mutations share the revision."""

    revision: int
    operation: str
    """What was done, such as `services.scale`; for people who read the log."""
    mutations: tuple[Mutation, ...]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record of an append-only journal, such as the audit log."""

    sequence: int
    payload: bytes


class Span(msgspec.Struct, frozen=True, gc=False):
    """The sequences of a journal's oldest and newest record; 0 and 0 when it is empty."""

    first: int
    last: int


class Store(Protocol):
    """The few verbs of a store. All of them belong to one event loop.

    A store is made with the Resource classes it may hold; a value of any other raises InvalidArgument.
    """

    @property
    def revision(self) -> int:
        """The newest revision that reads can see."""
        ...

    @property
    def oldest(self) -> int:
        """The oldest revision that a watch may start after."""
        ...

    def find(self, kind: type[R], namespace: str, name: str) -> R | None:
        """The resource, or None."""
        ...

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """The resource; raises NotFound with a message that names kind and key."""
        ...

    def list(self, kind: type[R], namespace: str | None = None) -> Sequence[R]:
        """Every resource of a kind, of one namespace or (None) of all, in the order of their keys.

        The sequence is a snapshot: later commits do not change it.
        """
        ...

    def near(self, kind: type[R], namespace: str, prefix: str) -> Sequence[R]:
        """The resources of a namespace whose name begins with the prefix, in order.

        Costs what it returns, however many others there are.
        """
        ...

    async def commit(self, *writes: Write, operation: str = "") -> int:
        """Do all of the writes or none; returns the revision once they are durable and visible.

        Commits are judged in the order they were called. Raises what the first failing write raises,
        InvalidArgument when two writes name the same key, and Unavailable when the write could not be
        made durable (the disk is full, say): then nothing happened. No writes at all: nothing to do,
        returns `revision`. A caller that is cancelled does not know whether the commit happens, but it
        happens whole or not at all.
        """
        ...

    def watch(self, after: int) -> AsyncIterator[Change]:
        """Every change with a revision greater than `after`, in order, none twice, none left out.

        Never ends by itself. Raises OutOfRange at once when `after` is older than `oldest` or newer
        than `revision` (it is of another store, or of one since restored), and later when this reader
        falls behind the kept history; raises Unavailable when the store closes, after what is left.
        A slow reader costs the store nothing: it holds a position, not a queue.
        """
        ...

    async def append(self, journal: str, payload: bytes) -> int:
        """Add a record to an append-only journal; returns its sequence, from 1, once it is durable."""
        ...

    def employ(self, scribe: Scribe) -> None:
        """Let the scribe write its journal from now on, with the commits that it has a word for."""
        ...

    async def tell(self, text: bytes) -> int:
        """Let the store's scribe write down what comes with no commit; returns the entry's sequence.

        Raises FailedPrecondition where no scribe is employed.
        """
        ...

    async def read(self, journal: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Records of a journal with a sequence greater than `after`, oldest first."""
        ...

    async def span(self, journal: str) -> Span:
        """Where a journal begins and ends."""
        ...

    async def prune(self, journal: str, through: int) -> None:
        """Drop the records up to and with a sequence, but never the newest: the count goes on from it.

        The caller keeps the number small; other writes wait while they are dropped.
        """
        ...

    async def probe(self) -> None:
        """Raise Unavailable when the store is out of reach, or could not write and still cannot."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything with Unavailable. A second call does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
