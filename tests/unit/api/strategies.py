"""Hypothesis strategies for any message, made from its shape and its limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st
from msgspec import Meta

from rune.api.fields import Message, WireEnum
from rune.api.schemas import metas
from rune.api.shape import Field, fields

M = TypeVar("M", bound=Message)
_made: dict[tuple[type[Message], int], st.SearchStrategy[Any]] = {}
DEEPEST = 3
INTEGERS = {"int32": 31, "int64": 63, "uint32": 32, "uint64": 63}


def messages(model: type[M], depth: int = 0) -> st.SearchStrategy[M]:
    """Valid messages: of a group at most one field is set, and below some depth only what must be."""
    key = (model, depth)
    if key not in _made:
        _made[key] = _messages(model, depth)
    return _made[key]


def _messages(model: type[M], depth: int) -> st.SearchStrategy[M]:
    items = fields(model)
    groups = {item.oneof for item in items if item.oneof}
    plain = {item.name: _field(item, depth) for item in items if not item.oneof}
    chosen = {group: st.sampled_from([item for item in items if item.oneof == group]) for group in groups}

    @st.composite
    def made(draw: st.DrawFn) -> M:
        values: dict[str, Any] = {name: draw(one) for name, one in plain.items()}
        for choice in chosen.values():
            item = draw(choice)
            values[item.name] = draw(_value(item, depth))
        return model(**values)

    return made()


def _field(field: Field, depth: int) -> st.SearchStrategy[Any]:
    if field.required:
        return _whole(field, depth)
    if depth >= DEEPEST or (field.is_message and depth):
        return st.just(field.default)
    return st.one_of(st.just(field.default), _whole(field, depth))


def _whole(field: Field, depth: int) -> st.SearchStrategy[Any]:
    one = _value(field, depth)
    if field.repeated:
        return st.lists(one, min_size=_limit(field, "min_length", 0), max_size=2)
    if field.mapping:
        keys = get_args(_bare(field.hint))[0]
        return st.dictionaries(_text(metas(keys)), one, max_size=2)
    return one


def _value(field: Field, depth: int) -> st.SearchStrategy[Any]:
    kind: Any = field.python
    if field.is_message:
        return messages(kind, depth + 1)
    if issubclass(kind, WireEnum):
        return st.sampled_from(list[WireEnum](kind))
    if field.dress == "raw":
        one = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=2)
        return st.lists(one, max_size=2) if isinstance(field.default, list) else one
    if field.is_time:
        return _times(whole=field.type == "int64")
    if kind is int:
        return _integers(field)
    simple: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        float: _floats(field),
        bytes: st.binary(max_size=20),
    }
    return simple[kind] if kind in simple else _text(metas(field.hint))


def _integers(field: Field) -> st.SearchStrategy[int]:
    bits = INTEGERS[field.type]
    low = 0 if field.type.startswith("u") else -(2**bits)
    return st.integers(_limit(field, "ge", low), _limit(field, "le", 2**bits - 1))


def _times(*, whole: bool) -> st.SearchStrategy[datetime]:
    times = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside
    return times.map(lambda at: at.replace(microsecond=0)) if whole else times


def _text(limits: list[Meta]) -> st.SearchStrategy[str]:
    pattern = next((meta.pattern for meta in limits if meta.pattern), None)
    most = next((meta.max_length for meta in limits if meta.max_length), 12)
    least = next((meta.min_length for meta in limits if meta.min_length), 0)
    if pattern:
        return st.from_regex(pattern.removesuffix(r"(?!\n)").replace("$", r"\Z"), fullmatch=True).filter(
            lambda text: len(text) <= max(most, 253)
        )
    return st.text(min_size=least, max_size=min(most, 12))


def _limit(field: Field, name: str, otherwise: int) -> int:
    found = [getattr(meta, name) for meta in metas(field.hint)]
    return next((int(limit) for limit in found if limit is not None), otherwise)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _floats(field: Field) -> st.SearchStrategy[float]:
    known = [(meta.ge, meta.le) for meta in metas(field.hint)]
    low = next((float(ge) for ge, _ in known if ge is not None), None)
    high = next((float(le) for _, le in known if le is not None), None)
    return st.floats(low, high, allow_nan=False, allow_infinity=False)
