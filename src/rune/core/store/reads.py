"""The reading half of a store, the same for every backend that keeps an image and a history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from rune.core.store.base import Change, Key, R, Resource
from rune.core.store.history import History, closed
from rune.core.store.image import Image
from rune.core.store.judge import missing
from rune.core.store.kinds import Kinds
from rune.core.store.scribe import Scribe, Word
from rune.errors import FailedPrecondition, InvalidArgument


class Reads:
    """Answers from memory; a backend adds the writing half and moves image and history on."""

    def __init__(self, kinds: Sequence[type[Resource]], history: int) -> None:
        self._kinds = Kinds(kinds)
        self._image = Image()
        self._history = History(history)
        self._scribe: Scribe | None = None
        self._open = True

    @property
    def revision(self) -> int:
        """The newest revision that reads can see."""
        return self._history.revision

    @property
    def oldest(self) -> int:
        """The oldest revision that a watch may start after."""
        return self._history.oldest

    def find(self, kind: type[R], namespace: str, name: str) -> R | None:
        """The resource, or None."""
        if not self._open:
            raise closed()
        return self._image.find(kind, namespace, name)

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """The resource; raises NotFound."""
        found = self.find(kind, namespace, name)
        if found is None:
            raise missing(Key(kind.KIND, namespace, name))
        return found

    def list(self, kind: type[R], namespace: str | None = None) -> Sequence[R]:
        """Every resource of a kind, in the order of their keys."""
        if not self._open:
            raise closed()
        return self._image.list(kind, namespace)

    def near(self, kind: type[R], namespace: str, prefix: str) -> Sequence[R]:
        """The resources of a namespace whose name begins with the prefix."""
        if not self._open:
            raise closed()
        return self._image.near(kind, namespace, prefix)

    def watch(self, after: int) -> AsyncIterator[Change]:
        """Every change after a revision, in order."""
        return self._history.watch(after)

    def employ(self, scribe: Scribe) -> None:
        """Let the scribe write its journal from now on."""
        refuse_bad_journal(scribe.journal)
        self._scribe = scribe

    def _word(self, operation: str) -> Word | None:
        """What the scribe has to say of a commit."""
        return self._scribe.word(operation) if self._scribe else None

    @property
    def _employed(self) -> Scribe:
        """The scribe; raises FailedPrecondition where there is none."""
        if self._scribe is None:
            raise FailedPrecondition("nobody writes this store's journal: employ a scribe first")
        return self._scribe

    def _move(self, changes: Sequence[Change]) -> None:
        """Show the next changes to reads first, then to watches."""
        for change in changes:
            self._image.apply((each.key, each.after) for each in change.mutations)
        self._history.publish(changes)


def refuse_bad_journal(journal: str) -> None:
    """Raise InvalidArgument for a name that no file can hold."""
    try:
        journal.encode()
    except UnicodeEncodeError as error:
        message = f"the name of a journal is Unicode text, not {journal!r}"
        raise InvalidArgument(message) from error
