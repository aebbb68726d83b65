"""HTML in Python: every text and attribute is escaped, unless it is Markup that this module made."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Node = Markup | str | int | None | Iterable["Node"]
"""What can stand inside an element; None is nothing."""
Value = str | int | float | bool | None

VOID = frozenset({"input", "br", "meta", "link", "hr", "col"})


def el(name: str, /, *children: Node, **attributes: Value) -> Markup:
    """An element. `class_` is class, `data_key` is data-key; None and False leave an attribute out."""
    head = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{head}>")  # noqa: S704 - its parts are escaped
    return Markup(f"<{name}{head}>{''.join(map(_text, children))}</{name}>")  # noqa: S704 - as above


def join(*children: Node) -> Markup:
    """The children beside each other."""
    return Markup("".join(map(_text, children)))  # noqa: S704 - its parts are escaped


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


def _text(node: Node) -> str:
    if node is None:
        return ""
    if isinstance(node, (str, int)):
        return escape(node)
    return "".join(map(_text, node))
