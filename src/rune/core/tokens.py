"""Tokens: `<id>.<secret>`, two UUIDs. The id finds the token; only a SHA-256 of the whole is kept."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, ClassVar, Final

from rune.api.fields import Timestamp
from rune.api.orchestrator.admin import Subject
from rune.api.resource import Key, Resource

SYSTEM: Final = "system"
"""The namespace of everything that says who may do what."""


class Token(Resource):
    """A credential of a subject. Its hash never shows when it is printed."""

    KIND: ClassVar[str] = "token"

    id: str
    name: str = ""
    description: str = ""
    kind: str = ""
    subject: str
    """The subject's name."""
    subject_id: str
    """And its id, so that a token does not come to life again for a later subject of the same name."""
    issued_at: Timestamp = None
    expires_at: Timestamp = None
    """None: never."""
    revoked: bool = False
    revoked_at: Timestamp = None
    last_used_at: Timestamp = None
    hash: str
    """SHA-256 of the token's text, in hexadecimal digits."""

    @property
    def key(self) -> Key:
        """Tokens live in the `system` namespace, by id."""
        return Key(self.KIND, SYSTEM, self.id)

    def is_good(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be printed."""
        return [("id", self.id), ("name", self.name), ("subject", self.subject), ("revoked", self.revoked)]

    def __repr__(self) -> str:
        return f"Token({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def digest(text: str) -> str:
    """What is kept of a token's text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def mint(subject: Subject, now: datetime, *, lifetime: timedelta | None = None) -> tuple[Token, str]:
    """A new token of the subject, and its text, which nobody can find out again."""
    # Not from a clock: ids that a test can foresee are not for secrets.
    public, secret = (str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)) for _ in range(2))
    text = f"{public}.{secret}"
    token = Token(
        id=public,
        name=subject.name,
        subject=subject.name,
        subject_id=subject.id,
        issued_at=now,
        expires_at=now + lifetime if lifetime else None,
        hash=digest(text),
    )
    return token, text
