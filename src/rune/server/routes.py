"""From a path to what serves it: a tree of segments, so that the time does not grow with the table."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Match(NamedTuple, Generic[T]):
    """What is served at a path, by method, and the segments that stand where the template has braces."""

    methods: dict[str, T]
    values: tuple[str, ...]


class _Node(Generic[T]):
    def __init__(self) -> None:
        self.literal: dict[str, _Node[T]] = {}
        self.any: _Node[T] | None = None
        self.methods: dict[str, T] = {}


class Routes(Generic[T]):
    """Templates such as `/v1/namespaces/{name}`; a literal segment goes before one in braces."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, template: str, target: T) -> None:
        """Serve the template; raises ValueError when something is served there already."""
        node = self._root
        for segment in template.split("/")[1:]:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        if node.methods.setdefault(method, target) is not target:
            raise ValueError(f"{method} {template} is declared twice")

    def find(self, path: str) -> Match[T] | None:
        """What is served at the path; its values are as they stand there, still percent-encoded."""
        return _find(self._root, path.split("/")[1:], ())


def _find(node: _Node[T], rest: list[str], values: tuple[str, ...]) -> Match[T] | None:
    if not rest:
        return Match(node.methods, values) if node.methods else None
    segment, *rest = rest
    inner = node.literal.get(segment)
    found = _find(inner, rest, values) if inner is not None else None
    if found is None and node.any is not None and segment:
        found = _find(node.any, rest, (*values, segment))
    return found
