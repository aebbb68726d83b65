"""YAML read twice over: as plain values, and as the line and column where each of them stands."""

from __future__ import annotations

import re
from typing import Any

import yaml

from rune.errors import InvalidArgument, Violation


class Places:
    """A YAML text whose `plain` value is checked elsewhere; `violation` finds the place of `.rules[2].id`."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        try:
            self._root = yaml.compose(text, Loader=yaml.CSafeLoader)
            self.plain: Any = yaml.load(text, Loader=yaml.CSafeLoader)
        except yaml.YAMLError as error:
            raise InvalidArgument(f"{name}: {error}") from error

    def violation(self, path: str, why: str) -> Violation:
        """What is wrong, and `file:line:column` of the nearest node the path leads to."""
        mark = self._find(path).start_mark if self._root is not None else None
        place = f"{self._name}:{mark.line + 1}:{mark.column + 1}" if mark else self._name
        return Violation(f"{place} {path.lstrip('.')}".strip(), why)

    def _find(self, path: str) -> yaml.Node:
        node: yaml.Node = self._root  # pyright: ignore[reportAssignmentType] - callers check for None
        for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
            inner = _child(node, name, index)
            if inner is None:
                break
            node = inner
        return node


def _child(node: yaml.Node, name: str, index: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode) and name:
        return next((value for key, value in node.value if key.value == name), None)
    if isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
        return node.value[int(index)]
    return None
