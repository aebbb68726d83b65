"""From nodes to plain data by the shape of a message; what does not fit is noted, and the rest read on."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from rune.api.fields import Message, WireEnum
from rune.api.shape import Field, fields
from rune.manifest.words import MEANT, NOT_YET, SHORT, SPELLINGS, WRITTEN_BY_SERVER, enum_words
from rune.positions.nodes import Node, Source
from rune.positions.spots import Problem, Spot

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(rf"{_WHOLE.pattern}(\.[0-9]{{1,9}})?")
_SEVERAL = {"env_from"}
"""Lists that may be written as their only item."""
LABEL_OF = {"services": "service", "secrets": "secret", "configmaps": "configmap", "namespaces": "namespace"}


class Reading:
    """The way through one resource of a file: what was found wrong, and where every field stands."""

    def __init__(self, source: Source, label: str) -> None:
        self.problems: list[Problem] = []
        self.spots: dict[str, Spot] = {}
        self._source, self._label = source, label

    def wrong(self, spot: Spot, message: str, path: str = "") -> None:
        """Note a problem."""
        where = f"{yaml_path(path)}: " if path else ""
        self.problems.append(self._source.problem(spot, f"{self._label}: {where}{message}", path))

    def message(self, model: type[Message], node: Node, path: str = "") -> dict[str, Any]:
        """The mapping as data for the message, by wire names."""
        if node.kind == "scalar" and model in SHORT and not node.is_null:
            node = self._written_out(model, node, path)
        if node.kind != "mapping":
            self.wrong(node.spot, f"must be a mapping, not {_what(node)}", path)
            return {}
        known, data, read = keys(model), dict[str, Any](), set[str]()
        for key, value in node.entries:
            field = known.get(key.text) if key.kind == "scalar" else None
            where = f"{path}.{field.wire}" if field and path else field.wire if field else path
            if field is None:
                self._stranger(model, key, path)
            elif key.text in read:
                continue  # the reader of the file has told of it
            elif where in self.spots:
                self.wrong(key.spot, f"{key.text!r} is another spelling of what stands there already", path)
            else:
                read.add(key.text)
                self.spots[where] = value.spot
                self._take(field, value, where, data=data)
        return data

    def _written_out(self, model: type[Message], node: Node, path: str) -> Node:
        expand, forms = SHORT[model]
        found = expand(node)
        if found.kind != "mapping":
            self.wrong(node.spot, f"{node.text!r} must be a mapping, or {forms}", path)
            return Node("mapping", node.spot)
        return found

    def _stranger(self, model: type[Message], key: Node, path: str) -> None:
        later = NOT_YET.get(model, {}).get(key.text)
        if key.kind != "scalar":
            self.wrong(key.spot, "a key must be one word", path)
        elif later:
            self.wrong(key.spot, f"{key.text} is not supported: {later}", path)
        else:
            self.wrong(key.spot, f"unknown key {key.text!r}{nearest(key.text, keys(model))}", path)

    def _take(self, field: Field, node: Node, path: str, *, data: dict[str, Any]) -> None:
        if node.is_null and not (field.python is str and not field.repeated and not field.mapping):
            if field.required:
                self.wrong(node.spot, "has no value", path)
            return
        before = len(self.problems)
        value = self._value(field, node, path)
        if len(self.problems) == before or isinstance(value, (dict, list)):
            data[field.wire] = value

    def _value(self, field: Field, node: Node, path: str) -> Any:  # noqa: ANN401 - plain data of any shape
        if field.repeated:
            return self._list(field, node, path)
        if field.mapping:
            return self._mapping(field, node, path)
        return self.message(field.python, node, path) if field.is_message else self.scalar(field, node, path)

    def _list(self, field: Field, node: Node, path: str) -> list[Any]:
        if node.kind != "list" and field.wire in _SEVERAL:
            node = Node("list", node.spot, items=[node])
        if node.kind == "scalar" and field.wire == "command":
            node = Node("list", node.spot, items=self._words(node, path))
        if node.kind != "list":
            self.wrong(node.spot, f"must be a list, not {_what(node)}", path)
            return []
        found: list[Any] = []
        for number, item in enumerate(node.items):
            where = f"{path}[{number}]"
            self.spots[where] = item.spot
            one = (
                self.message(field.python, item, where)
                if field.is_message
                else self.scalar(field, item, where)
            )
            if one is not None:
                found.append(one)
        return found

    def _words(self, node: Node, path: str) -> list[Node]:
        try:
            return [Node("scalar", node.spot, word, quoted=True) for word in shlex.split(node.text)]
        except ValueError as error:
            self.wrong(node.spot, f"cannot be split into words ({error}); write a list", path)
            return []

    def _mapping(self, field: Field, node: Node, path: str) -> dict[str, Any]:
        if node.kind != "mapping":
            self.wrong(node.spot, f"must be a mapping, not {_what(node)}", path)
            return {}
        found: dict[str, Any] = {}
        for key, value in node.entries:
            if key.spot.is_sealed:
                continue  # it was refused already, and a path would repeat it
            where = f"{path}.{key.text}"
            self.spots[where] = value.spot
            one = self.scalar(field, value, where)
            if one is not None:
                found[key.text] = one
        return found

    def scalar(self, field: Field, node: Node, path: str) -> Any:  # noqa: ANN401 - as _value
        """The scalar as the field has it; None when it does not fit, which is noted."""
        if node.kind != "scalar":
            self.wrong(node.spot, f"must be {_type(field)}, not {_what(node)}", path)
            return None
        if field.python is str:
            if node.is_null:
                self.wrong(node.spot, 'has no value; write "" for an empty text', path)
                return None
            return node.text
        if isinstance(field.model, type) and issubclass(field.model, WireEnum):
            return self._word(field.model, node, path)
        if field.python is bool and node.text in ("true", "false") and not node.quoted:
            return node.text == "true"
        if field.python is int and _WHOLE.fullmatch(node.text) and not node.quoted:
            return int(node.text)
        if field.python is float and _NUMBER.fullmatch(node.text) and not node.quoted:
            return float(node.text)
        self.wrong(node.spot, f"must be {_type(field)}{_hint(field, node)}", path)
        return None

    def _word(self, words: type[WireEnum], node: Node, path: str) -> str | None:
        known = enum_words(words)
        plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", node.text).lower().replace("_", "-")
        if plain not in known:
            choice = ", ".join(known)
            self.wrong(node.spot, f"{node.text!r} is none of {choice}{nearest(plain, known)}", path)
        return known.get(plain)


@cache
def keys(model: type[Message]) -> dict[str, Field]:
    """The keys that a mapping may have, other spellings included."""
    hidden = WRITTEN_BY_SERVER.get(model, frozenset())
    by_wire = {field.wire: field for field in fields(model) if field.wire not in hidden}
    known = {field.json: field for field in by_wire.values()}
    return known | {word: by_wire[wire] for word, wire in SPELLINGS.get(model, {}).items()}


def nearest(word: str, known: Mapping[str, Any]) -> str:
    """`; did you mean …?`, or nothing when no word is near."""
    meant = MEANT.get(word)
    if meant in known:
        return f"; did you mean {meant!r}?"
    lower = {key.lower(): key for key in known}
    near = difflib.get_close_matches(word.lower().replace("_", "")[:64], lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def yaml_path(path: str) -> str:
    """A path of the wire in the words of a file: `ports[0].target_port` → `ports[0].targetPort`."""
    if path.startswith("env."):  # the name of a variable is the user's own
        return path
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)


def _what(node: Node) -> str:
    return "nothing" if node.is_null else {"scalar": "one value"}.get(node.kind, f"a {node.kind}")


def _type(field: Field) -> str:
    names = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}
    return names.get(field.python.__name__, "one word")


def _hint(field: Field, node: Node) -> str:
    if node.quoted and field.python in (int, bool, float):
        return ", without quotes"
    if field.python is int and re.fullmatch(r"0[0-9]+", node.text):
        return f"; {node.text} begins with 0: write {node.text.lstrip('0') or '0'}"
    return f", not {node.text[:40]!r}"
