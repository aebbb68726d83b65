"""The resources in memory, from which every read is answered.

Changing one costs the same among ten and among ten thousand.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from rune.core.store.base import Key, R, Resource

LAST = "\U0010ffff"
"""Sorts after every character that a name can hold."""


class Table:
    """The resources of one kind in one namespace, in the order of their names."""

    __slots__ = ("_listed", "_names", "rows")

    def __init__(self) -> None:
        # The rows are of one Resource class; Any spares a cast on every read.
        self.rows: dict[str, Any] = {}
        self._names: list[str] = []
        self._listed: tuple[Any, ...] | None = ()

    def put(self, name: str, value: Resource) -> None:
        """Set a row, and keep the order when it is a new one."""
        if name not in self.rows:
            insort(self._names, name)
        self.rows[name] = value
        self._listed = None

    def remove(self, name: str) -> None:
        """Take a row out; it has to be there."""
        del self.rows[name]
        del self._names[bisect_left(self._names, name)]
        self._listed = None

    def listed(self) -> tuple[Any, ...]:
        """Every row in order; the tuple is kept until a row changes."""
        if self._listed is None:
            self._listed = tuple(map(self.rows.__getitem__, self._names))
        return self._listed

    def near(self, prefix: str) -> Sequence[Any]:
        """The rows whose name begins with the prefix, in order."""
        first = bisect_left(self._names, prefix)
        last = bisect_left(self._names, prefix + LAST, lo=first)
        return [self.rows[name] for name in self._names[first:last]]


class Image:
    """Tables by kind and namespace; it only ever holds what is durable."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Table]] = {}

    def find(self, kind: type[R], namespace: str, name: str) -> R | None:
        """The resource, or None."""
        table = self._kinds.get(kind.KIND, _NONE).get(namespace)
        return None if table is None else table.rows.get(name)

    def at(self, key: Key) -> Resource | None:
        """The resource of a key whose class is not at hand, or None."""
        table = self._kinds.get(key.kind, _NONE).get(key.namespace)
        return None if table is None else table.rows.get(key.name)

    def list(self, kind: type[R], namespace: str | None) -> Sequence[R]:
        """The resources of a kind in the order of their keys; a sequence that later changes leave alone."""
        tables = self._kinds.get(kind.KIND, _NONE)
        if namespace is None:
            return tuple(chain.from_iterable(tables[each].listed() for each in sorted(tables)))
        table = tables.get(namespace)
        return () if table is None else table.listed()

    def near(self, kind: type[R], namespace: str, prefix: str) -> Sequence[R]:
        """The resources of a namespace whose name begins with the prefix."""
        table = self._kinds.get(kind.KIND, _NONE).get(namespace)
        return () if table is None else table.near(prefix)

    def apply(self, after: Iterable[tuple[Key, Resource | None]]) -> None:
        """Put each value under its key, or take the key out where the value is None."""
        for key, value in after:
            if value is None:
                self._remove(key)
            else:
                tables = self._kinds.setdefault(key.kind, {})
                table = tables.get(key.namespace)
                if table is None:
                    table = tables[key.namespace] = Table()
                table.put(key.name, value)

    def _remove(self, key: Key) -> None:
        table = self._kinds[key.kind][key.namespace]
        table.remove(key.name)
        if not table.rows:  # namespaces come and go: an empty one must not stay for ever
            del self._kinds[key.kind][key.namespace]


_NONE: dict[str, Table] = {}
