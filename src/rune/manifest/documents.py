"""What a file declares: its resources as models of the API, each with the places of its fields."""

from __future__ import annotations

from typing import Any

import msgspec

from rune.api.fields import Message
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.secrets import Secret
from rune.api.orchestrator.services import Service
from rune.api.validate import assemble
from rune.errors import InvalidArgument
from rune.manifest.values import Reading, nearest, yaml_path
from rune.positions.nodes import Node, Origin, Source
from rune.positions.spots import Malformed, Problem, Spot, in_order
from rune.positions.tree import parse

KINDS: dict[str, type[Message]] = {
    "namespace": Namespace,
    "configmap": Configmap,
    "secret": Secret,
    "service": Service,
}
"""In the order in which they are sent: what others stand on comes first."""
TOP = {key: kind for kind in KINDS for key in (kind, f"{kind}s")}


class Item(msgspec.Struct, frozen=True):
    """One resource of a file."""

    kind: str
    model: Any
    """The message: Service, Secret, Configmap or Namespace."""
    spot: Spot
    spots: dict[str, Spot]
    """Where each field stands, by its path on the wire."""
    source: Source

    @property
    def label(self) -> str:
        """What people call it: `service "api"`."""
        return _label(self.kind, self.model.name)

    def problem(self, path: str, message: str) -> Problem:
        """Something wrong with the field at the path."""
        where = f"{yaml_path(path)}: " if path != "name" else ""
        return self.source.problem(
            spot_of(self.spots, path, self.spot), f"{self.label}: {where}{message}", path
        )


def read(text: str, *, name: str, origin: Origin | None = None) -> list[Item]:
    """Everything the text declares, in its order; raises Malformed with everything that is wrong in it."""
    source, problems = parse(text, name=name, origin=origin)
    found = _Found(source)
    for document in source.documents:
        if not document.is_null:
            found.document(document)
    problems += found.problems
    if problems:
        raise Malformed(in_order(problems))
    return found.items


class _Found:
    """What was found in one file so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.items: list[Item] = []
        self.problems: list[Problem] = []

    def document(self, node: Node) -> None:
        if node.kind != "mapping":
            self._wrong(node.spot, "a file must be a mapping with keys such as `service`")
            return
        for key, value in node.entries:
            kind = TOP.get(key.text) if key.kind == "scalar" else None
            if kind is None:
                self._wrong(key.spot, f"unknown top-level key {key.text!r}{nearest(key.text, TOP)}")
            elif value.kind == "scalar":
                self._wrong(value.spot, f"{key.text} must be a mapping or a list of mappings")
            else:
                for part in value.items if value.kind == "list" else [value]:
                    self._item(kind, part)

    def _wrong(self, spot: Spot, message: str) -> None:
        self.problems.append(self.source.problem(spot, message))

    def _item(self, kind: str, node: Node) -> None:
        if node.kind != "mapping":
            self._wrong(node.spot, f"a {kind} must be a mapping")
            return
        name = node.get("name")
        is_sealed = name is not None and name.spot.is_sealed
        reading = Reading(self.source, _label(kind, "" if is_sealed or name is None else name.text))
        if is_sealed and name is not None:
            reading.wrong(name.spot, "a name is never secret", "name")
        node, skipped = _without_skip(node, reading)
        data = reading.message(KINDS[kind], _PREPARED[kind](node, reading))
        model = _built(KINDS[kind], _FINISHED[kind](data), node, reading=reading)
        self.problems += reading.problems
        if model is not None and not skipped:
            self.items.append(Item(kind, model, node.spot, reading.spots, self.source))


def _built(model: type[Message], data: dict[str, Any], node: Node, *, reading: Reading) -> Message | None:
    told = {problem.path for problem in reading.problems}
    try:
        built = assemble(model, data)
    except InvalidArgument as error:
        for violation in error.details:
            if violation.field not in told:
                spot = spot_of(reading.spots, violation.field, node.spot)
                reading.wrong(spot, violation.description, violation.field)
        return None
    return None if reading.problems else built


def spot_of(spots: dict[str, Spot], path: str, whole: Spot) -> Spot:
    """Where the path stands, or the nearest thing around it that stands somewhere."""
    while path:
        if path in spots:
            return spots[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return whole


def _without_skip(node: Node, reading: Reading) -> tuple[Node, bool]:
    """`skip: true` keeps a resource in the file and out of the system."""
    rest = [entry for entry in node.entries if entry[0].text != "skip"]
    said = [value for key, value in node.entries if key.text == "skip"]
    if not said:
        return node, False
    if said[0].text not in ("true", "false"):
        reading.wrong(said[0].spot, "must be true or false", "skip")
    return Node("mapping", node.spot, entries=rest), said[0].text == "true"


def _plain(node: Node, _reading: Reading) -> Node:
    return node


def _service(node: Node, _reading: Reading) -> Node:
    """A command may be a list, its first word the program; without an image it is a process."""
    entries = [(key, _program(value) if key.text == "process" else value) for key, value in node.entries]
    whole = _program(Node("mapping", node.spot, entries=entries))
    have = {key.text for key, _ in whole.entries}
    if "command" not in have or have & {"image", "process"}:
        return whole
    moved = [entry for entry in whole.entries if entry[0].text in ("command", "args")]
    rest = [entry for entry in whole.entries if entry not in moved]
    process = Node("mapping", moved[0][0].spot, entries=moved)
    return Node("mapping", node.spot, entries=[*rest, (_word("process", process.spot), process)])


def _program(node: Node) -> Node:
    """The mapping with `command: [a, b]` as `command: a` and `args: [b, …]`."""
    command = next((value for key, value in node.entries if key.text == "command"), None)
    if node.kind != "mapping" or command is None or command.kind != "list" or not command.items:
        return node
    args = next((value for key, value in node.entries if key.text == "args"), None)
    first, *more = command.items
    rest = [entry for entry in node.entries if entry[0].text not in ("command", "args")]
    if args is None or args.kind == "list":
        args = Node("list", command.spot, items=[*more, *(args.items if args else [])])
    entries = [(_word("command", first.spot), first), (_word("args", args.spot), args), *rest]
    return Node("mapping", node.spot, entries=entries)


def _pairs(node: Node, reading: Reading) -> Node:
    """Data may be a list of `key` and `value`; `value` and `valueBase64` are keys of the data."""
    data: list[tuple[Node, Node]] = []
    rest: list[tuple[Node, Node]] = []
    for key, value in node.entries:
        if key.text in ("value", "valueBase64"):
            data.append((key, value))
        elif key.text == "data" and value.kind == "mapping":
            data += value.entries
        elif key.text == "data" and value.kind == "list":
            data += _listed(value, reading)
        else:
            rest.append((key, value))
    if data:
        rest.append((_word("data", data[0][0].spot), Node("mapping", data[0][0].spot, entries=data)))
    return Node("mapping", node.spot, entries=rest)


def _listed(node: Node, reading: Reading) -> list[tuple[Node, Node]]:
    found: list[tuple[Node, Node]] = []
    for item in node.items:
        pair = {key.text: value for key, value in item.entries}
        if set(pair) == {"key", "value"} and pair["key"].kind == "scalar":
            found.append((pair["key"], pair["value"]))
        else:
            reading.wrong(item.spot, "must be a mapping with `key` and `value`", "data")
    return found


def _one_copy(data: dict[str, Any]) -> dict[str, Any]:
    """A file that says nothing of the scale means one; on the wire that would be none."""
    return {"scale": 1, **data}


_PREPARED = {"service": _service, "secret": _pairs, "configmap": _pairs, "namespace": _plain}
_FINISHED = {
    "service": _one_copy,
    "secret": dict[str, Any],
    "configmap": dict[str, Any],
    "namespace": dict[str, Any],
}


def _word(text: str, spot: Spot) -> Node:
    return Node("scalar", spot, text)


def _label(kind: str, name: str) -> str:
    return f'{kind} "{name[:63]}"' if name else kind
