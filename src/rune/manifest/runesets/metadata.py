"""What `runeset.yaml` says: who made it, and which values it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rune.manifest.runesets.archive import MANIFEST, Files
from rune.manifest.values import nearest
from rune.positions.spots import Malformed, Problem, Spot, in_order, problem_at
from rune.positions.values import Located, read

TYPES = ("string", "int", "number", "bool", "list", "map")
_TYPE_NAMES = {"integer": "int", "boolean": "bool", "array": "list", "object": "map", "text": "string"}
WORDS = {"string": "text", "int": "a whole number", "number": "a number", "bool": "true or false",
         "list": "a list", "map": "a mapping"}  # fmt: skip
_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "number": (int, float),
    "bool": (bool,),
    "list": (list,),
    "map": (dict,),
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VALUE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*){0,15}")
MOST_VALUES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value that a runeset takes."""

    name: str
    """A dotted path, such as `db.password`."""
    type: str = ""
    default: Any = None
    sensitive: bool = False
    required: bool = False
    description: str = ""
    spot: Spot

    def complaint(self, value: Any) -> str:  # noqa: ANN401 - whatever somebody gave
        """What is wrong with a value for this; it does not repeat the value."""
        if value is None or not self.type or fits(value, self.type):
            return ""
        return f"{self.name} must be {WORDS[self.type]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A runeset's own description."""

    name: str
    version: str
    description: str = ""
    maintainers: Sequence[str] = ()
    values: Sequence[Value] = ()

    @property
    def has_secrets(self) -> bool:
        """Some of its values are sensitive."""
        return any(value.sensitive for value in self.values)


def fits(value: Any, type: str) -> bool:  # noqa: ANN401 - as complaint
    """The value is of the type; true and false are no numbers."""
    return isinstance(value, _PYTHON[type]) and (type == "bool" or not isinstance(value, bool))


def metadata(files: Files, *, origin: str) -> Metadata:
    """What the runeset's own file says; raises Malformed with everything that is wrong in it."""
    name = f"{origin}/{MANIFEST}"
    if MANIFEST not in files:
        raise Malformed([Problem(Spot(origin, 1, 1), f"there is no {MANIFEST}, so this is no runeset")])
    return _Reader(read(files[MANIFEST], name=name)).metadata()


class _Reader:
    """Checks the values of the file one by one, and notes what is wrong."""

    def __init__(self, located: Located) -> None:
        self._located = located
        self._problems: list[Problem] = []

    def metadata(self) -> Metadata:
        keys = ("name", "version", "description", "maintainers", "values")
        top = self._mapping(self._located.value, "", keys)
        name = self._text(top, "name", "", is_required=True)
        if name and not _NAME.fullmatch(name):
            self._wrong("name", "a name has lower-case letters, digits and dashes, 63 at most")
        version = self._text(top, "version", "", is_required=True)
        found = Metadata(
            name=name,
            version=version,
            description=self._text(top, "description", ""),
            maintainers=[self._maintainer(one, at) for at, one in enumerate(self._list(top, "maintainers"))],
            values=[self._value(one, f"values[{at}]") for at, one in enumerate(self._list(top, "values"))],
        )
        self._together(found.values)
        if self._problems:
            raise Malformed(in_order(self._problems))
        return found

    def _wrong(self, path: str, message: str, *, at_key: bool = False) -> None:
        spot = self._located.key_at(path) if at_key else self._located.at(path)
        self._problems.append(problem_at(spot, message, path, lines=self._located.lines))

    def _mapping(self, value: Any, path: str, known: Sequence[str]) -> Mapping[str, Any]:  # noqa: ANN401 - YAML
        if not isinstance(value, dict):
            self._wrong(path, f"must be a mapping with {', '.join(known)}")
            return {}
        given = cast("dict[str, Any]", value)
        for key in given:
            if key not in known:
                where = f"{path}.{key}" if path else key
                message = f"unknown key {key[:60]!r}{nearest(key, dict.fromkeys(known))}"
                self._wrong(where, message, at_key=True)
        return given

    def _text(self, given: Mapping[str, Any], key: str, path: str, *, is_required: bool = False) -> str:
        value = given.get(key)
        where = f"{path}.{key}" if path else key
        if value is None:
            if is_required:
                self._wrong(path, f"{key} is missing")
            return ""
        if isinstance(value, str):
            return value
        hint = f'; write "{value}" in quotes' if isinstance(value, (int, float)) else ""
        self._wrong(where, f"{key} must be text{hint}")
        return ""

    def _flag(self, given: Mapping[str, Any], key: str, path: str) -> bool:
        value = given.get(key, False)
        if not isinstance(value, bool):
            self._wrong(f"{path}.{key}", f"{key} must be true or false")
            return False
        return value

    def _list(self, given: Mapping[str, Any], key: str) -> list[Any]:
        value = given.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(key, f"{key} must be a list")
            return []
        items = cast("list[Any]", value)
        if len(items) > MOST_VALUES:
            self._wrong(key, f"{key} has {len(items)} items; {MOST_VALUES} are the most")
        return items[:MOST_VALUES]

    def _maintainer(self, value: Any, at: int) -> str:  # noqa: ANN401 - YAML
        if isinstance(value, str):
            return value
        path = f"maintainers[{at}]"
        given = self._mapping(value, path, ("name", "email", "url"))
        email = self._text(given, "email", path)
        return self._text(given, "name", path, is_required=True) + (f" <{email}>" if email else "")

    def _value(self, value: Any, path: str) -> Value:  # noqa: ANN401 - YAML
        keys = ("name", "type", "default", "sensitive", "required", "description")
        given = self._mapping(value, path, keys)
        name = self._text(given, "name", path, is_required=True)
        if name and not _VALUE_NAME.fullmatch(name):
            self._wrong(f"{path}.name", "a value's name is words with dots between them, such as db.password")
        found = Value(
            name=name,
            type=self._type(given, path),
            default=given.get("default"),
            sensitive=self._flag(given, "sensitive", path),
            required=self._flag(given, "required", path),
            description=self._text(given, "description", path),
            spot=self._located.at(path),
        )
        complaint = found.complaint(found.default)
        if complaint:
            self._wrong(f"{path}.default", f"the default of {complaint}")
        if found.required and found.default is not None:
            self._wrong(f"{path}.default", "a value that is required needs no default")
        return found

    def _type(self, given: Mapping[str, Any], path: str) -> str:
        said = self._text(given, "type", path)
        type_ = _TYPE_NAMES.get(said, said)
        if type_ and type_ not in TYPES:
            near = nearest(said, dict.fromkeys(TYPES))
            self._wrong(f"{path}.type", f"{said[:60]!r} is none of {', '.join(TYPES)}{near}")
            return ""
        return type_

    def _together(self, values: Sequence[Value]) -> None:
        names = [value.name for value in values]
        for at, name in enumerate(names):
            if name and names.index(name) != at:
                self._wrong(f"values[{at}].name", f"{name} is declared twice")
