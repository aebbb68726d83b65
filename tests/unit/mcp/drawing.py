"""Draws JSON data that fits a tool's schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
WORDS = st.text("abcXYZ_09", min_size=1, max_size=8)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001 - the zone follows


def data(schema: Json) -> st.SearchStrategy[Any]:
    """Anything that the schema allows and that says something within its limits."""
    return _value(schema, schema.get("$defs", {}))


def _value(schema: Json, known: Json) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each form
    if "$ref" in schema:
        return _value(known[schema["$ref"].removeprefix("#/$defs/")], known)
    if "anyOf" in schema:
        return st.one_of([_value(part, known) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds: list[str] | str = schema["type"]
    if isinstance(kinds, list):
        return st.one_of([_value({**schema, "type": each}, known) for each in kinds])
    match schema["type"]:
        case "object":
            return _object(schema, known)
        case "array":
            items = _value(schema["items"], known)
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=2)
        case "string":
            return _text(schema)
        case "integer":
            return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1))
        case kind:
            simple = {
                "number": _number(schema),
                "boolean": st.booleans(),
                "null": st.none(),
            }
            return simple[str(kind)]


def _number(schema: Json) -> st.SearchStrategy[float]:
    above = schema.get("exclusiveMinimum")
    least = schema.get("minimum", 0) if above is None else above
    return st.floats(least, schema.get("maximum", 1e6), exclude_min=above is not None)


def _object(schema: Json, known: Json) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        keys = _text(schema["propertyNames"]) if "propertyNames" in schema else WORDS
        rest = schema["additionalProperties"]
        values = st.integers(0, 9) if rest is True else _value(rest, known)
        return st.dictionaries(keys, values, max_size=2)
    parts = {name: _value(part, known) for name, part in schema["properties"].items()}
    required = schema.get("required", ())
    must = {name: parts.pop(name) for name in required}
    return st.fixed_dictionaries(must, optional=parts)


def _text(schema: Json) -> st.SearchStrategy[str]:
    if schema.get("contentEncoding") == "base64":
        return st.just("aGk=")
    if schema.get("title", "").startswith("RFC 3339"):
        times = TIMES.map(datetime.isoformat)
        return st.one_of(st.just(""), times) if "empty" in schema["title"] else times
    if str(schema.get("pattern", "")).endswith("[0-9]{1,19}$"):
        return st.integers(0, 2**31).map(str)
    if "pattern" in schema:
        return st.from_regex(str(schema["pattern"]), fullmatch=True)
    return st.text("aZ9 é/", min_size=int(schema.get("minLength", 0)), max_size=12)
