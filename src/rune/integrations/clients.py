"""Guards the clients of OpenAI and Anthropic, which are generated alike: every call goes through `request`.

The guarded client is of a subclass of the given one's class, so it is what it was to everyone who asks, and
what comes back from it are the library's own objects.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from rune.errors import Unimplemented
from rune.integrations.checkpoint import Checkpoint, beside, refuse_redaction
from rune.integrations.held import CallWhole, Held, Part, apassing, passing
from rune.integrations.layers import is_judged_above

C = TypeVar("C")
RAW = "X-Stainless-Raw-Response"
"""The header by which these libraries tell themselves that the caller wants a response and no model."""
_ASKING, _ANSWERING = "reading what is asked of a model", "reading what a model answers"


class Asked(NamedTuple):
    """A text of a request: where it stands, and what it is to the model."""

    path: tuple[str | int, ...]
    text: str
    source: str = "chat"
    call_id: str | None = None
    """Of the tool call whose result it is, if it is one."""


class Said(NamedTuple):
    """A text of an answer, and where it stands."""

    path: tuple[str | int, ...]
    text: str


class Wire(NamedTuple):
    """One way of a provider to ask and to answer."""

    asked: Callable[[Mapping[str, Any]], Iterable[Asked]]
    named: Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
    """Id and tool of every call that a request tells of."""
    answered: Callable[[Any], Iterable[Said | CallWhole]]
    tokens: Callable[[Any], int]
    streamed: Callable[[Any], Iterable[Part]]


def guarded(client: C, check: Checkpoint, find: Callable[[str, str], Wire | None]) -> C:
    """A client that shares the connections of the given one; `find` knows a wire by method and path."""
    kind = type(client)
    request: Any = _arequest if inspect.iscoroutinefunction(cast("Any", kind).request) else _request
    ours = type(
        kind.__name__, (kind,), {"request": request(kind, check, find), "__module__": kind.__module__}
    )
    twin: Any = copy.copy(client)
    inside = cast("dict[str, object]", vars(twin))
    # What hangs on the client was made for the original, and would go round us.
    for name in [name for name, value in inside.items() if getattr(value, "_client", None) is client]:
        del inside[name]
    twin.__class__ = ours
    return twin


def _request(kind: Any, check: Checkpoint, find: Callable[[str, str], Wire | None]) -> Callable[..., Any]:
    def request(self: Any, cast_to: Any, options: Any, **more: Any) -> Any:
        wire = find(options.method, options.url)
        if wire is None or is_judged_above(check.shield):
            return kind.request(self, cast_to, options, **more)
        options = check.own(_ASKING, lambda: _before(check, wire, options), options)
        answer = kind.request(self, cast_to, options, **more)
        model = answer.parse() if hasattr(answer, "http_response") else answer
        if more.get("stream"):
            model._iterator = passing(Held(check, wire.streamed), model._iterator)  # noqa: SLF001 - the one thing that both its ways of reading share
        else:
            check.own(_ANSWERING, lambda: _after(check, wire, model, is_raw=model is not answer), None)
        return answer

    return request


def _arequest(kind: Any, check: Checkpoint, find: Callable[[str, str], Wire | None]) -> Callable[..., Any]:
    async def request(self: Any, cast_to: Any, options: Any, **more: Any) -> Any:
        wire = find(options.method, options.url)
        if wire is None or is_judged_above(check.shield):
            return await kind.request(self, cast_to, options, **more)
        options = await beside(lambda: check.own(_ASKING, lambda: _before(check, wire, options), options))
        answer = await kind.request(self, cast_to, options, **more)
        model = answer
        if hasattr(answer, "http_response"):
            model = answer.parse()
            model = await model if inspect.isawaitable(model) else model
        if more.get("stream"):
            model._iterator = apassing(Held(check, wire.streamed), model._iterator)  # noqa: SLF001 - as above
        else:
            await beside(
                lambda: check.own(
                    _ANSWERING, lambda: _after(check, wire, model, is_raw=model is not answer), None
                )
            )
        return answer

    return request


def _before(check: Checkpoint, wire: Wire, options: Any) -> Any:
    """Judges a request; the options, with what a policy redacted in it."""
    if get(options.headers, RAW) == "stream":
        raise Unimplemented(
            "with_streaming_response hands out bytes that Shield has not read; "
            "use stream=True or with_raw_response"
        )
    redacted: dict[str, Any] = {}
    for field in ("json_data", "extra_json"):
        body: Any = getattr(options, field, None)
        if isinstance(body, Mapping):
            changed = _judged(check, wire, cast("Mapping[str, Any]", body))
            redacted |= {field: changed} if changed is not None else {}
    return options.model_copy(update=redacted) if redacted else options


def _judged(check: Checkpoint, wire: Wire, body: Mapping[str, Any]) -> Any:
    for call_id, tool in wire.named(body):
        check.name_call(call_id, tool)
    changed: Any = None
    for asked in wire.asked(body):
        if asked.call_id is None:
            text = check.input(asked.text, asked.source)
        else:
            text = check.result(check.tool_of(asked.call_id), asked.text)
        if text is not asked.text:
            changed = copy.deepcopy(body) if changed is None else changed
            put(changed, asked.path, text)
    return changed


def _after(check: Checkpoint, wire: Wire, answer: Any, *, is_raw: bool) -> None:
    """Judges an answer, and redacts it where a policy says so."""
    tokens = wire.tokens(answer)
    for said in wire.answered(answer):
        if isinstance(said, CallWhole):
            check.name_call(said.call_id, said.name)
            check.call(said.name, said.arguments)
            continue
        text = check.output(said.text, tokens)
        tokens = 0  # counted once
        if text is not said.text and is_raw:
            refuse_redaction(check)
        elif text is not said.text:
            put(answer, said.path, text)


def put(root: Any, path: tuple[str | int, ...], text: str) -> None:
    """Puts a text at a place that is reached over keys, indexes and attributes."""
    *way, last = path
    place: Any = root
    for step in way:
        place = _inner(place, step)
    if isinstance(last, int) or isinstance(place, dict):
        place[last] = text
    else:
        setattr(place, last, text)


def _inner(place: Any, step: str | int) -> Any:
    if isinstance(step, int) or isinstance(place, dict):
        return cast("Any", place)[step]
    return getattr(place, step)


def rows(value: object) -> list[Any]:
    """A list of a body, or nothing where there is none."""
    return cast("list[Any]", value) if isinstance(value, (list, tuple)) else []


def get(value: object, name: str) -> Any:
    """A field of a mapping or of a model; None where there is none."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    return getattr(value, name, None)


_OPAQUE = frozenset({
    "type", "id", "url", "data", "base64", "image_url", "file_id", "file_url", "file_data", "media_type",
    "mime_type", "signature", "encrypted_content", "cache_control", "detail", "format", "call_id",
    "tool_use_id", "index", "filename",
})  # fmt: skip
"""Fields of names, addresses and files, which a model does not read; data may use these words for texts."""


def read_by_model(
    content: object, path: tuple[str | int, ...], kinds: frozenset[str]
) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """As `texts_of`, and of parts of all other kinds the texts in any field that a model may read."""
    yield from texts_of(content, path, kinds)
    for place, part in enumerate(rows(content)):
        if isinstance(part, Mapping):
            fields = cast("Mapping[str, object]", part)
            if not isinstance(get(fields, "text"), str) or (get(fields, "type") or "text") not in kinds:
                yield from fields_of(fields, (*path, place))


def fields_of(
    part: Mapping[str, object], path: tuple[str | int, ...]
) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """The texts of a part of a kind that is not known, or of one that is more than a text."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [(path, part)]
    while waiting:
        at, value = waiting.pop()
        if isinstance(value, str):
            yield at, value
        elif isinstance(value, Mapping):
            fields = cast("Mapping[str, object]", value)
            is_text = get(fields, "type") == "text"
            waiting += [
                ((*at, k), v) for k, v in fields.items() if (is_text and k == "data") or not _is_opaque(k, v)
            ]
        else:
            waiting += [((*at, place), each) for place, each in enumerate(rows(value))]


def _is_opaque(name: str, value: object) -> bool:
    """What a name, an address or an encoded file looks like, in a field for such; no sentence does."""
    return name in _OPAQUE and isinstance(value, str) and value.isascii() and " " not in value


def texts_of(
    content: object, path: tuple[str | int, ...], kinds: frozenset[str]
) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """The texts of a message's content, which is one text or a list of parts."""
    if isinstance(content, str):
        yield path, content
    for place, part in enumerate(rows(content)):
        text = get(part, "text")
        if isinstance(part, str):
            yield (*path, place), part
        elif isinstance(text, str) and (get(part, "type") or "text") in kinds:
            yield (*path, place, "text"), text
