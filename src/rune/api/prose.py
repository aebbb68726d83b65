"""What the declarations say about themselves: docstrings of classes, and those that stand below fields.

Read from source files, so only generators use it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from types import ModuleType

from rune.api.fields import Message, WireEnum
from rune.api.shape import Field


def about(model: type[Message | WireEnum]) -> str:
    """The docstring of a message or an enum, on one line."""
    return flat(inspect.getdoc(model) or "")


def about_module(module: ModuleType) -> str:
    """The docstring of a noun, on one line."""
    return flat(inspect.getdoc(module) or "")


def about_field(model: type[Message], field: Field) -> str:
    """What stands below the field, what its type says, and why it is refused if it is."""
    said = next((text for owner in model.__mro__ if (text := _below(owner).get(field.name))), "")
    parts = [said, field.constraints.description or ""]
    if field.unsupported:
        parts.append(f"Not supported: {field.unsupported}.")
    return " ".join(filter(None, parts))


def about_word(words: type[WireEnum], name: str) -> str:
    """What stands below a word of an enum."""
    return _below(words).get(name, "")


@cache
def _below(owner: type) -> dict[str, str]:
    if not issubclass(owner, (Message, WireEnum)):
        return {}
    return _classes(sys.modules[owner.__module__]).get(owner.__name__, {})


@cache
def _classes(module: ModuleType) -> dict[str, dict[str, str]]:
    body = ast.parse(inspect.getsource(module)).body
    return {node.name: _docstrings(node.body) for node in body if isinstance(node, ast.ClassDef)}


def _docstrings(body: list[ast.stmt]) -> dict[str, str]:
    """Of each assignment the string that follows it."""
    found: dict[str, str] = {}
    for stated, below in pairwise(body):
        name = _assigned(stated)
        if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[name] = flat(str(below.value.value))
    return found


def _assigned(node: ast.stmt) -> str:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())
