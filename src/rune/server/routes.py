"""From a path to what serves it: a tree of segments, so that the time does not grow with the table."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Match(NamedTuple, Generic[T]):
    """What is served at a path, by method, and the segments that stand where the template has braces."""

    methods: dict[str, T]
    values: tuple[str, ...]


class Routes(Generic[T]):
    """Templates such as `/v1/namespaces/{name}`; a literal segment goes before one in braces."""

    def __init__(self) -> None:
        self._literal: dict[str, Routes[T]] = {}
        self._any: Routes[T] | None = None
        self._methods: dict[str, T] = {}

    def add(self, method: str, template: str, target: T) -> None:
        """Serve the template; raises ValueError when something is served there already."""
        node = self
        for segment in template.split("/")[1:]:
            if segment.startswith("{"):
                node._any = node._any or Routes()
                node = node._any
            else:
                node = node._literal.setdefault(segment, Routes())
        if node._methods.setdefault(method, target) is not target:
            raise ValueError(f"{method} {template} is declared twice")

    def find(self, path: str) -> Match[T] | None:
        """What is served at the path; its values are as they stand there, still percent-encoded."""
        return self._find(path.split("/"), 1, ())

    def _find(self, segments: list[str], at: int, values: tuple[str, ...]) -> Match[T] | None:
        if at == len(segments):
            return Match(self._methods, values) if self._methods else None
        segment = segments[at]
        inner = self._literal.get(segment)
        if inner is not None:
            found = inner._find(segments, at + 1, values)
            if found is not None:
                return found
        if self._any is None or not segment:
            return None
        return self._any._find(segments, at + 1, (*values, segment))
