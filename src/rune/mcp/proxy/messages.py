"""JSON-RPC messages as plain data. What was judged is written anew, so that both sides read the same
thing.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn, TypeAlias, cast

import msgspec

Json: TypeAlias = Any
"""A JSON value of any shape; whoever reads it checks the type."""
Key: TypeAlias = tuple[str, str]
"""An id that 1, "1" and true do not share."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
BLOCKED: Final = -32010
"""Our own: a policy or a scan stopped the message."""
GONE: Final = -32000
"""The other side is not there any more; SDKs call it a closed connection."""
BUSY: Final = -32011
"""Our own: too many requests wait for an answer."""
VERSION: Final = "io.modelcontextprotocol/protocolVersion"
"""Where requests without a handshake (2026-07-28 and later) say what they speak."""
MOST_ID: Final = 512
"""Characters of an id: thousands of them are remembered while they wait."""


class Malformed(ValueError):
    """The line is no JSON that both sides would read alike."""


def decode(line: bytes) -> Json:
    """The data in a line; raises Malformed."""
    try:
        return msgspec.json.decode(line)
    except UnicodeDecodeError as error:
        raise Malformed("it is not UTF-8") from error
    except RecursionError as error:
        raise Malformed("it is nested too deep") from error
    except msgspec.DecodeError:
        return _slowly(line)


def _slowly(line: bytes) -> Json:
    """For what is allowed in JSON but not to msgspec: half of a surrogate pair, as in a text that was cut."""
    try:
        return json.loads(line.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Malformed("it is not JSON") from error


def _finite(word: str) -> float:
    number = float(word)
    return number if math.isfinite(number) else _refuse(word[:20])


def _refuse(word: str) -> NoReturn:
    raise Malformed(f"{word} is no number in JSON")


def encode(message: Json) -> bytes:
    """The line, with its end."""
    try:
        return msgspec.json.encode(message) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def whole(line: bytes) -> Json:
    """The data in a line of ours, with a question mark for half of a surrogate pair: not everybody can write
    that.
    """
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return msgspec.json.decode(json.dumps(decode(line), ensure_ascii=False).encode(errors="replace"))


def mapping(value: Json) -> dict[str, Json]:
    """The object, or an empty one for anything else."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def items(value: Json) -> list[Json]:
    """The array, or an empty one for anything else."""
    return cast("list[Json]", value) if isinstance(value, list) else []


def text(value: Json) -> str:
    """The string, or an empty one for anything else."""
    return value if isinstance(value, str) else ""


def bare(said: dict[str, Json]) -> dict[str, Json]:
    """The message as one kind alone, be it a request, a result or an error: a reader that looks for another
    kind first must not find one beside it that nobody judged.
    """
    kinds = (("method", ("method", "params")), ("result", ("result",)))
    names = next((names for kind, names in kinds if kind in said), ("error",))
    return {name: said[name] for name in ("jsonrpc", "id", *names) if name in said}


def key(identity: Json) -> Key | None:
    """The id as a key; None for what is no id, or far too long for one."""
    if isinstance(identity, str):
        return ("text", identity) if len(identity) <= MOST_ID else None
    if isinstance(identity, bool) or not isinstance(identity, int | float) or not math.isfinite(identity):
        return None
    digits = str(int(identity)) if identity == int(identity) else repr(identity)
    return ("number", digits) if len(digits) <= MOST_ID else None


def error(identity: Json, code: int, message: str) -> Json:
    """An answer that says what went wrong."""
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}


def failed_call(identity: Json, says: str, *, is_modern: bool) -> Json:
    """An answer to a call that a model can read: the tool failed, and why."""
    result: dict[str, Json] = {"content": [{"type": "text", "text": says}], "isError": True}
    if is_modern:
        result["resultType"] = "complete"
    return {"jsonrpc": "2.0", "id": identity, "result": result}


def is_modern(params: dict[str, Json]) -> bool:
    """The request speaks a version without a handshake."""
    return VERSION in mapping(params.get("_meta"))
