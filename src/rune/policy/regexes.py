"""Regular expressions that users write: RE2 only, whose time is linear in the text for every pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_PATTERN = 1024

Search = Callable[[str], bool]


class BadRegex(ValueError):
    """The text is not a regular expression of RE2's syntax."""


def searcher(pattern: str) -> Search:
    """A function that says whether the pattern occurs in a text; raises BadRegex."""
    if len(pattern) > MAX_PATTERN:
        raise BadRegex(f"{len(pattern)} characters are too many; the limit is {MAX_PATTERN}")
    import re2  # noqa: PLC0415 - most policies have no regex, and the import takes several milliseconds

    engine: Any = re2  # google-re2 ships no types
    options = engine.Options()
    options.log_errors = False
    try:
        find = engine.compile(pattern, options).search
    except UnicodeEncodeError:
        raise BadRegex("a character that is not one (half of a surrogate pair)") from None
    except engine.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadRegex(text + _hint(text)) from None

    def search(text: str) -> bool:
        # Lone surrogates cannot be UTF-8; they must not be a way to make the match fail.
        return find(text.encode("utf-8", "replace")) is not None

    return search


def _hint(reason: str) -> str:
    if "perl operator" in reason:
        return " (RE2 has no look-around; say the opposite with `matches` or `not_matches`)"
    return " (RE2 has no back-references)" if "escape sequence" in reason else ""
