"""Reads a policy as people write it: YAML in, a checked PolicyDocument out, every error with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast, get_args, get_origin

import msgspec

from rune.policy.checks import faults, repeated
from rune.policy.model import (
    MAX_RULES,
    MAX_SERVERS,
    RESERVED_PREFIX,
    RULE_TYPES,
    SCANNERS,
    VERSION,
    AnyRule,
    Globs,
    McpServer,
    Mode,
    Name,
    Scanner,
    Text,
    ToolAllowlist,
    When,
)
from rune.policy.problems import Position, Problems
from rune.policy.words import suggest
from rune.positions.spots import Malformed
from rune.positions.values import Located, is_old_boolean, read

MAX_SERVER_NAME = 100
ENOUGH = 200
"""Past so many problems unknown keys are no longer compared with the known ones."""

_SELECTORS = ("scanner", "type", "when")
_MISSING = "is missing"
_MSGSPEC_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as it was written, checked. `positions` says where each value stood (`rules[0].name`)."""

    version: str
    name: str = ""
    description: str = ""
    agents: tuple[str, ...] = ()
    """Globs; none means every agent."""
    tags: tuple[str, ...] = ()
    """Any of them; none means agents with any tags, or without."""
    mode: Mode = "enforce"
    rules: list[AnyRule] = []
    mcp: dict[str, McpServer] = {}
    positions: Mapping[str, Position] = {}


_TOP: dict[str, Any] = {
    "version": str, "name": Name, "description": Text, "agents": Globs, "tags": Globs, "mode": Mode,
    "rules": list, "mcp": dict,
}  # fmt: skip


def parse(source: str | bytes) -> PolicyDocument:
    """The policy in a YAML text; raises InvalidArgument with all that is wrong, each with line and column."""
    try:
        located = read(source)
    except Malformed as error:
        raise Problems.of(error).error() from None
    return _Reader(located).document()


class _Reader:
    """Walks the values of one text and collects problems instead of stopping at the first."""

    def __init__(self, located: Located) -> None:
        self._located = located
        self._problems = Problems(located.lines)

    def document(self) -> PolicyDocument:
        top = self._mapping(self._located.value, "", "a policy")
        values = dict(top)
        self._unknown(top, _TOP, "")
        if type(values.get("version")) in {int, float} and values["version"] == 1:
            values["version"] = VERSION  # version: 1.0 without quotes
        fields = self._fields({key: _TOP[key] for key in _TOP if key not in {"rules", "mcp"}}, values, "")
        if "version" not in values:
            self._wrong("", f'version {_MISSING}; write version: "{VERSION}"')
        elif fields.get("version", VERSION) != VERSION:
            self._wrong("version", f'unknown version; this release reads "{VERSION}"')
        rules = self._rules(values)
        servers = self._servers(values.get("mcp"))
        self._problems.raise_if_any()
        return PolicyDocument(**fields, rules=rules, mcp=servers, positions=self._positions())

    def _positions(self) -> dict[str, Position]:
        return {path: Position.of(spot) for path, spot in self._located.values.items()}

    def _wrong(self, path: str, message: str, *, offset: int = 0) -> None:
        at = self._located.at(path)
        self._problems.add(path, Position(at.line, at.column + offset), message)

    def _wrong_key(self, path: str, message: str) -> None:
        self._problems.add(path, Position.of(self._located.key_at(path)), message)

    def _mapping(self, value: object, path: str, what: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
        if value is None and not path:
            self._wrong(path, "the document is empty; a policy has at least version and rules")
        else:
            self._wrong(path, f"{what} is a mapping of keys to values, not {_kind(value)}")
        return {}

    def _unknown(self, given: Iterable[str], known: Iterable[str], path: str) -> None:
        names = list(known)
        for key in given:
            if key not in names and len(self._problems) < ENOUGH:
                where = f"{path}.{key}" if path else key
                self._wrong_key(where, f"unknown key {key[:60]!r}{suggest(key, names)}")

    def _fields(self, types: Mapping[str, Any], values: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The values that are given and fit their types; the others are noted."""
        good: dict[str, Any] = {}
        for key, wanted in types.items():
            if key not in values:
                continue
            where = f"{path}.{key}" if path else key
            try:
                good[key] = msgspec.convert(values[key], wanted)
            except msgspec.ValidationError as error:
                self._mismatch(where, (values[key], wanted), str(error))
        return good

    def _mismatch(self, path: str, pair: tuple[Any, object], message: str) -> None:
        value, wanted = pair
        found = _MSGSPEC_PATH.search(message)
        inner = found["path"] if found else ""
        for step in re.findall(r"\[(\d+)\]", inner):
            value = value[int(step)]
        self._wrong(path + inner, _complaint(value, wanted, _MSGSPEC_PATH.sub("", message)))

    def _rules(self, values: Mapping[str, Any]) -> list[AnyRule]:
        if "rules" not in values:
            if "mcp" not in values and values:
                self._wrong("", f"rules {_MISSING}; a policy without rules decides nothing")
            return []
        given = values["rules"]
        if not isinstance(given, list):
            self._wrong("rules", f"rules is a list (lines that start with -), not {_kind(given)}")
            return []
        items = cast("list[Any]", given)
        if len(items) > MAX_RULES:
            self._wrong(f"rules[{MAX_RULES}]", f"{len(items)} rules are too many; the limit is {MAX_RULES}")
            return []
        made = [(index, self._rule(item, f"rules[{index}]")) for index, item in enumerate(items)]
        good = [(index, rule) for index, rule in made if rule is not None]
        for first, again in repeated([rule for _, rule in good]):
            index, rule = good[again]
            line = self._located.at(f"rules[{good[first][0]}].name").line
            self._wrong(f"rules[{index}].name", f"the name {rule.name!r} is already taken, in line {line}")
        return [rule for _, rule in good]

    def _rule(self, given: object, path: str) -> AnyRule | None:
        values = dict(self._mapping(given, path, "a rule"))
        if not isinstance(given, dict):
            return None
        form = self._form(values, path)
        if form is None:
            return None
        types = {field.encode_name: field.type for field in msgspec.structs.fields(form)}
        selector = () if form in {Scanner, When} else ("type",)
        before = len(self._problems)
        self._unknown(values, [*types, *selector], path)
        good = self._fields(types, values, path)
        for field in msgspec.structs.fields(form):
            if field.required and field.encode_name not in values:
                self._wrong(path, f"{field.encode_name} {_MISSING} in this {_label(form)} rule")
        if len(self._problems) > before:
            return None
        rule = form(**{field.name: good[field.encode_name] for field in msgspec.structs.fields(form)
                       if field.encode_name in good})  # fmt: skip
        if rule.name.startswith(RESERVED_PREFIX):
            self._wrong(f"{path}.name", f"names that start with {RESERVED_PREFIX} are for the mcp section")
        for fault in faults(rule):
            where = f"{path}.{fault.field}" if fault.field else path
            self._wrong(where, fault.message, offset=self._into(where, fault.offset))
        return rule

    def _into(self, path: str, offset: int) -> int:
        """How far right of a value's start the offset is; 0 for block text, where it is elsewhere."""
        at = self._located.at(path)
        line = self._located.lines[at.line - 1] if offset else ""
        opening = line[at.column - 1 : at.column]
        if opening in {"|", ">"}:
            return 0
        return offset + (opening in {'"', "'"}) if offset else 0

    def _form(self, values: dict[str, Any], path: str) -> type[AnyRule] | None:
        """Which Struct a rule is; turns `scanner: tool_access` into the allowlist that it means."""
        given = [key for key in _SELECTORS if key in values]
        if len(given) != 1:
            if given:
                self._wrong(
                    path, f"has {' and '.join(given)}; a rule has exactly one of {', '.join(_SELECTORS)}"
                )
            else:
                self._unselected(values, path)
            return None
        match given[0]:
            case "when":
                return When
            case "type":
                return self._type(values["type"], path)
            case _:
                if values["scanner"] != "tool_access":
                    return Scanner
                del values["scanner"]
                if "allowed_tools" in values and "tools" not in values:
                    values["tools"] = values.pop("allowed_tools")
                    self._rename(path)
                return ToolAllowlist

    def _rename(self, path: str) -> None:
        """Let what is said about `tools` point at the `allowed_tools` that was written."""
        for places in (self._located.values, self._located.keys):
            for old in [old for old in places if old.startswith(f"{path}.allowed_tools")]:
                places[old.replace("allowed_tools", "tools", 1)] = places[old]

    def _type(self, name: object, path: str) -> type[AnyRule] | None:
        form = RULE_TYPES.get(name) if isinstance(name, str) else None
        if form is None:
            shown = str(name)[:60]
            hint = f"; write scanner: {shown}" if shown in SCANNERS else suggest(shown, RULE_TYPES)
            self._wrong(f"{path}.type", f"unknown rule type {shown!r}{hint}")
        return form

    def _unselected(self, values: Mapping[str, Any], path: str) -> None:
        """A rule without scanner, type and when: maybe one of them is misspelt."""
        import difflib  # noqa: PLC0415 - only the road of errors pays for it

        for key in values:
            near = difflib.get_close_matches(key, _SELECTORS, n=1, cutoff=0.7)
            if near:
                self._wrong_key(f"{path}.{key}", f"unknown key {key!r}; did you mean {near[0]!r}?")
                return
        self._wrong(path, f"a rule has exactly one of {', '.join(_SELECTORS)}; this one has none")

    def _servers(self, given: object) -> dict[str, McpServer]:
        if given is None:
            return {}
        section = self._mapping(given, "mcp", "mcp")
        self._unknown(section, ["servers"], "mcp")
        servers = self._mapping(section.get("servers", {}), "mcp.servers", "servers")
        if len(servers) > MAX_SERVERS:
            self._wrong("mcp.servers", f"{len(servers)} servers are too many; the limit is {MAX_SERVERS}")
        for name in servers:
            if not 0 < len(name) <= MAX_SERVER_NAME:
                self._wrong_key(
                    f"mcp.servers.{name}", f"a server's name has 1 to {MAX_SERVER_NAME} characters"
                )
        return {name: server for name, value in servers.items()
                if (server := self._server(value, f"mcp.servers.{name}"))}  # fmt: skip

    def _server(self, given: object, path: str) -> McpServer | None:
        values = self._mapping(given, path, "a server")
        types = {field.name: field.type for field in msgspec.structs.fields(McpServer)}
        before = len(self._problems)
        self._unknown(values, types, path)
        good = self._fields(types, values, path)
        return McpServer(**good) if len(self._problems) == before else None


def _label(form: type[AnyRule]) -> str:
    return str(form.__struct_config__.tag)


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case _:
            return "text"


def _complaint(value: object, wanted: object, message: str) -> str:
    """What msgspec remarks, in the words of this page, with the remedy."""
    if get_origin(wanted) is Literal and isinstance(value, str):
        return f"unknown word {value[:60]!r}{suggest(value, get_args(wanted))}"
    if message.startswith("Expected `bool`") and is_old_boolean(value):
        return f"{value} is a word, not a boolean; write true or false"
    if message.startswith("Expected `str") and isinstance(value, (bool, int, float)):
        shown = str(value).lower()
        return f'is {_kind(value)}, and text is needed; write "{shown}"'
    plain = (
        message.replace("`", "")
        .replace("Expected array", "Expected a list")
        .replace("Expected object", "Expected a mapping")
    )
    for ours, theirs in (("text", "str"), ("a whole number", "int"), ("a number", "float")):
        plain = re.sub(rf"\b{theirs}\b", ours, plain)
    return plain[0].lower() + plain[1:] + (f" (here: {_kind(value)})" if "got" not in plain else "")
