"""The values of a release: defaults, values.yaml, files that were given, --set. Later ones win.

Mappings are put together key by key; lists and everything else replace what was there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
import yaml

from rune.errors import InvalidArgument
from rune.manifest.runesets.archive import Files
from rune.manifest.runesets.metadata import Metadata, Value, fits
from rune.manifest.template.sealed import sealed
from rune.manifest.values import nearest
from rune.positions.spots import Malformed, Problem, problem_at
from rune.positions.values import Located, Yaml, plain, read

VALUES = "values.yaml"
_SET = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*){0,15}")
MOST_SET = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What somebody gave with the release: texts of value files by name, and settings such as `a.b=c`."""

    files: Sequence[tuple[str, bytes]] = ()
    settings: Sequence[tuple[str, str]] = ()
    texts: Sequence[tuple[str, str]] = ()
    """Settings that are taken as text, whatever they look like: from files."""


def settled(metadata: Metadata, files: Files, given: Given, *, origin: str) -> dict[str, Any]:
    """The values, the sensitive ones sealed; raises Malformed with everything that is wrong."""
    layers = _Layers(metadata, origin)
    layers.add(files.get(VALUES, b""), name=f"{origin}/{VALUES}")
    layers.known_is_settled()
    for name, text in given.files:
        layers.add(text, name=name)
    for name, text in given.settings:
        layers.set(name, text)
    for name, text in given.texts:
        layers.set(name, text, as_text=True)
    return layers.settled()


class _Layers:
    """Values so far, and what was wrong with them."""

    def __init__(self, metadata: Metadata, origin: str) -> None:
        self._metadata, self._origin = metadata, origin
        self._problems: list[Problem] = []
        self._values: dict[str, Any] = {}
        self._known: dict[str, Any] | None = None
        for value in metadata.values:
            if value.default is not None:
                _put(self._values, value.name.split("."), value.default)

    def add(self, text: bytes, *, name: str) -> None:
        """A file of values."""
        try:
            located = read(text, name=name)
        except Malformed as error:
            self._problems += [self._told(problem) for problem in error.problems]
            return
        given: Yaml = located.value
        if given is None:
            return
        if not isinstance(given, dict):
            spot = located.at("")
            self._problems.append(problem_at(spot, "values must be a mapping", lines=located.lines))
            return
        found = cast("dict[str, Any]", given)
        self._check(found, located)
        self._values = merged(self._values, found)

    def _told(self, problem: Problem) -> Problem:
        """Where values may be sensitive, the line they stand on is not repeated."""
        return msgspec.structs.replace(problem, excerpt="") if self._metadata.has_secrets else problem

    def known_is_settled(self) -> None:
        """What comes now must be a value that there is, by declaration or in values.yaml."""
        known = self._values
        for value in self._metadata.values:
            if _at(known, value.name.split(".")) is None:
                stub = _nested(value.name.split("."), dict[str, Any]() if value.type == "map" else None)
                known = merged(known, stub)
        self._known = known

    def _check(self, found: dict[str, Any], located: Located) -> None:
        for value in self._metadata.values:
            complaint = value.complaint(_at(found, value.name.split(".")))
            if complaint:
                self._problems.append(self._told(_problem(located, value.name, complaint)))
        if self._known is not None:
            for path, word, known in _strangers(found, self._known):
                message = f"there is no value {path!r}{nearest(word, known)}"
                self._problems.append(self._told(_problem(located, path, message)))

    def set(self, name: str, text: str, *, as_text: bool = False) -> None:
        """One setting of a command line; it is said by its name alone, since the text may be sensitive."""
        if not _SET.fullmatch(name):
            raise InvalidArgument(f"--set {name[:60]!r}: a name is words with dots between them, as in a.b=c")
        if len(text) > MOST_SET:
            raise InvalidArgument(f"--set {name}: the value is longer than {MOST_SET >> 10} KiB")
        way = name.split(".")
        declared = next((value for value in self._metadata.values if value.name == name), None)
        value = text if as_text else _typed(text, declared, _at(self._values, way))
        if declared and (complaint := declared.complaint(value)):
            raise InvalidArgument(f"--set {complaint}")
        found = _nested(way, value)
        for path, word, known in _strangers(found, self._known or {}):
            raise InvalidArgument(f"--set {name}: there is no value {path!r}{nearest(word, known)}")
        self._values = merged(self._values, found)

    def settled(self) -> dict[str, Any]:
        """Everything together."""
        for value in self._metadata.values:
            if value.required and _at(self._values, value.name.split(".")) in (None, ""):
                message = (
                    f"{value.name} is required: give it with --set {value.name}=… or in a file of --values"
                )
                self._problems.append(Problem(value.spot, message))
        if self._problems:
            raise Malformed(self._problems)
        values = self._values
        for value in self._metadata.values:
            there = _at(values, value.name.split("."))
            if value.sensitive and there is not None:
                values = merged(values, _nested(value.name.split("."), _Whole(sealed(there))))
        return _unwrapped(values)


class _Whole:
    """A value that replaces what is there, also a mapping."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401 - values are plain data
        self.value = value


def _unwrapped(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = value.value if isinstance(value, _Whole) else value
        found[key] = _unwrapped(cast("dict[str, Any]", inner)) if isinstance(inner, dict) else inner
    return found


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, what is in `over` winning; neither is changed."""
    found = dict(base)
    for key, value in over.items():
        there = found.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            found[key] = merged(cast("dict[str, Any]", there), cast("dict[str, Any]", value))
        else:
            found[key] = value
    return found


def _typed(text: str, declared: Value | None, there: Any) -> Any:  # noqa: ANN401 - values are plain data
    """The text as its declaration has it, or as what is there already; by its looks where neither says."""
    if (declared and declared.type == "string") or (
        not (declared and declared.type) and isinstance(there, str)
    ):
        return text
    if text.startswith(("[", "{")) and (declared is None or declared.type in ("", "list", "map")):
        try:
            return read(text).value
        except (Malformed, yaml.YAMLError) as error:
            raise InvalidArgument(
                f"--set {declared.name if declared else text[0]}: this is no list and no mapping in YAML"
            ) from error
    value = plain(text)
    return float(value) if declared and declared.type == "number" and fits(value, "int") else value


def _problem(located: Located, path: str, message: str) -> Problem:
    return problem_at(located.key_at(path), message, path, lines=located.lines)


def _strangers(
    found: Mapping[str, Any], known: Mapping[str, Any], path: str = ""
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Paths that nobody knows, with the words that are known there. An empty mapping takes any key."""
    strangers: list[tuple[str, str, Mapping[str, Any]]] = []
    for key, value in found.items():
        where = f"{path}.{key}" if path else key
        if key not in known:
            strangers.append((where, key, known))
        elif isinstance(value, dict) and isinstance(known[key], dict) and known[key]:
            strangers += _strangers(cast("dict[str, Any]", value), cast("dict[str, Any]", known[key]), where)
    return strangers


def _at(values: Mapping[str, Any], way: Sequence[str]) -> Any:  # noqa: ANN401 - values are plain data
    found: Any = values
    for word in way:
        if not isinstance(found, dict):
            return None
        found = cast("dict[str, Any]", found).get(word)
    return found


def _nested(way: Sequence[str], value: Any) -> dict[str, Any]:  # noqa: ANN401 - values are plain data
    for word in reversed(way):
        value = {word: value}
    return value


def _put(values: dict[str, Any], way: Sequence[str], value: Any) -> None:  # noqa: ANN401 - values are plain data
    for word in way[:-1]:
        inner = values.setdefault(word, {})
        if not isinstance(inner, dict):
            return
        values = cast("dict[str, Any]", inner)
    values.setdefault(way[-1], value)


def sample(value: Value) -> Any:  # noqa: ANN401 - values are plain data
    """A stand-in for a value that nobody gave, so that templates can be checked without it."""
    samples: dict[str, Any] = {"int": 1, "number": 1.0, "bool": True, "list": [], "map": {}}
    return samples.get(value.type, "sample")


def with_samples(metadata: Metadata) -> Metadata:
    """The same, with every required value having a stand-in."""
    values = [
        replace(value, default=sample(value), required=False) if value.required else value
        for value in metadata.values
    ]
    return replace(metadata, values=values)
