"""Redaction: what looks like a credential is blotted out before anything is written down."""

from __future__ import annotations

import re
from typing import Final

_UUID: Final = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_TOKEN: Final = re.compile(rf"({_UUID})\.{_UUID}")
# Every repetition is bounded, or cannot begin twice in the same place: strangers choose what is logged.
_AFTER_WORD: Final = re.compile(r"(?i)\b(bearer|basic)\s{1,4}[A-Za-z0-9._~+/=-]{8,}")
_ASSIGNED: Final = re.compile(
    r"(?i)((?:secret|password|passwd|api[_-]?key|rune-key|authorization|access[_-]?key|private[_-]?key)"
    r"[\w-]{0,32}[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[^\s\"',;}&]{4,}"
)
_KEY: Final = re.compile(r"\b(?:(?:sk|rk|pk|xox[abp])[-_]|(?:ghp|gho|rune)_|AKIA)[A-Za-z0-9_-]{16,}")
_PRIVATE: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|[_.-])(?:secret|password|passwd|token|bearer|authorization|cookie|credentials?|api[_-]?key)(?:$|[_.-]text)"
)

SHORTEST: Final = len("secret=abcd")
"""A shorter text fits none of the patterns above; most names are."""
BLOT: Final = "***"


def redact(text: str) -> str:
    """The text without what looks like a token, a key or a password; of a token its public half stays."""
    if len(text) < SHORTEST:
        return text
    text = _TOKEN.sub(rf"\1.{BLOT}", text)
    text = _PRIVATE.sub(BLOT, text)
    text = _AFTER_WORD.sub(rf"\1 {BLOT}", text)
    text = _ASSIGNED.sub(rf"\1{BLOT}", text)
    return _KEY.sub(BLOT, text)


def is_secret_name(name: str) -> bool:
    """A field of this name holds a secret, whatever it looks like: `password`, `token_secret`, `api_key`."""
    return _SECRET_NAME.search(name) is not None
