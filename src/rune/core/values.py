"""From the text of a setting to its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from rune.core.durations import span
from rune.core.runefile import Address

HIGHEST_PORT: Final = 65_535


def read(text: str, hint: Any) -> Any:  # noqa: ANN401 - settings are of many types
    """The value of that type; raises ValueError that says what the setting takes."""
    if hint in _PARSERS:
        return _PARSERS[hint](text)
    if get_origin(hint) is Literal:
        return _choice(text, get_args(hint))
    if get_origin(hint) is tuple:
        return _sections(text, hint)
    try:
        return msgspec.convert(text, hint, strict=False)
    except msgspec.ValidationError as error:
        plain = str(error).replace("`", "").replace("Expected int", "takes a whole number")
        plain = plain.replace("Expected str", "takes text").partition(", got ")[0]
        raise ValueError(f"{plain}, not {text[:60]!r}") from error


def _sections(text: str, hint: Any) -> Any:  # noqa: ANN401 - as above
    """A list of sections, as JSON. Nothing of the text is repeated: a password may stand there by mistake."""
    try:
        return msgspec.json.decode(text, type=hint)
    except msgspec.MsgspecError as error:
        plain = str(error).replace("`", "").replace("Object contains unknown", "unknown")
        raise ValueError(f"takes a list of sections: {plain}") from None


def _choice(text: str, words: Sequence[str]) -> str:
    if text in words:
        return text
    nearest = get_close_matches(text.lower(), words, n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(f"takes {', '.join(words)}, not {text[:60]!r}{hint}")


def _truth(text: str) -> bool:
    word = text.lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"takes true or false, not {text[:60]!r}")


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"takes an IPv6 address in brackets, such as [::1]:7863, not {text[:60]!r}")
    if (
        not colon
        or not (port.isascii() and port.isdigit())
        or int(port) > HIGHEST_PORT
        or set(host) & set(" /[]@")
    ):
        raise ValueError(f"takes host:port, such as 127.0.0.1:7863 or :7863, not {text[:60]!r}")
    return Address(host, int(port))


def _folder(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("takes the path of a folder")
    return Path(text)


_PARSERS: Final[dict[Any, Callable[[str], Any]]] = {
    bool: _truth, Address: _address, Path: _folder, timedelta: span,
}  # fmt: skip
