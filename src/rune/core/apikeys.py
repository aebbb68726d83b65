"""API keys: `rune_live_` and 32 random bytes. A public prefix finds one; only a SHA-256 of it is kept.

What a key may do is read here and nowhere else: every key reads, sends events and validates; its permissions
add to that, and a key without any may do everything on the agent-security plane but manage keys and tenants,
and decide approvals: an agent that holds such a key must not allow itself what it asks for.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from hmac import compare_digest
from typing import Any, ClassVar, Final

from rune.api.fields import Timestamp
from rune.api.resource import Key, Resource
from rune.core.access import Principal, Rule, rule
from rune.core.clock import Clock
from rune.core.store.base import Store
from rune.core.tokens import SYSTEM, digest

KINDS_OF_TEXT: Final = ("rune_live_", "rune_test_")
PUBLIC: Final = 8
"""Characters after that which find the key; the 35 others are the secret, 210 random bits."""
SECRET_BYTES: Final = 32
NOBODYS_HASH: Final = digest("")
"""What an unknown key is compared with, so that it takes as long as a known one."""
KEY: Final = "key"
"""The kind of a principal that came with an API key."""

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "update", "delete")
_READABLE: Final = ("events", "agents", "policies", "alerts", "stats", "sdk", "webhooks", "approvals")
_READS: Final = tuple(rule(noun, READ) for noun in _READABLE)
_SENDS: Final = rule("events", ["create"])
_ASKS: Final = rule("sdk", ["create"])
_FULL: Final = (*_READS, _SENDS, *(rule(noun, WRITE) for noun in _READABLE if noun != "approvals"))
_NARROW: Final = (rule("events", [*READ, "create"]), rule("sdk", [*READ, "create"]))


class ApiKey(Resource):
    """A key of an organization. Its hash never shows when it is printed."""

    KIND: ClassVar[str] = "apikey"

    prefix: str
    """`rune_live_AbCdEfGh`: public, and how it is found."""
    name: str
    organization: str
    permissions: list[str] = []
    agent_id: str = ""
    """The one agent that it is narrowed to; empty for all."""
    instance: str = ""
    """The instance that it was made for (`NAMESPACE/ID`), and dies with; empty for one that people made."""
    attempt: int = 0
    """The start of that instance which alone may use it."""
    suspended: bool = False
    """Its agent is quarantined."""
    created_at: Timestamp = None
    created_by: str = ""
    expires_at: Timestamp = None
    revoked_at: Timestamp = None
    hash: str

    @property
    def key(self) -> Key:
        """Keys are found before anybody knows their organization, so they live in the `system` namespace."""
        return Key(self.KIND, SYSTEM, self.prefix)

    @property
    def id(self) -> str:
        """What people call it by."""
        return f"key_{self.prefix}"

    def is_good(self, now: datetime) -> bool:
        """Neither revoked, suspended nor expired."""
        is_ended = self.revoked_at is not None or self.suspended
        return not is_ended and (self.expires_at is None or now < self.expires_at)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be printed."""
        return [("prefix", self.prefix), ("name", self.name), ("organization", self.organization)]

    def __repr__(self) -> str:
        return f"ApiKey({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def mint(*, test: bool = False) -> tuple[str, str, str]:
    """A new key's prefix, its hash, and its text, which nobody can find out again."""
    text = KINDS_OF_TEXT[test] + secrets.token_urlsafe(SECRET_BYTES)
    return prefix_of(text), digest(text), text


def prefix_of(text: str) -> str:
    """The public part of a key's text."""
    return text[: len(KINDS_OF_TEXT[0]) + PUBLIC]


class Keys:
    """Finds the principals of API keys in a store."""

    KINDS: ClassVar[frozenset[str]] = frozenset({ApiKey.KIND})

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def of_text(self, text: str) -> Principal | None:
        """The key's principal; unknown, wrong, revoked and expired ones take the same way to None."""
        found = self._store.find(ApiKey, SYSTEM, prefix_of(text))
        matches = compare_digest(digest(text), found.hash if found else NOBODYS_HASH)
        return self._principal(found) if matches else None

    def current(self, credential: str) -> Principal | None:
        """The principal of a credential that was good before, None when it is no longer."""
        return self._principal(self._store.find(ApiKey, SYSTEM, credential))

    def _principal(self, found: ApiKey | None) -> Principal | None:
        if found is None or not found.is_good(self._clock.now()):
            return None
        return Principal(
            id=found.id,
            name=found.name,
            kind=KEY,
            organization=found.organization,
            rules=rules_of(found),
            credential=found.prefix,
            expires_at=found.expires_at,
            agent=found.agent_id,
        )


def rules_of(key: ApiKey) -> tuple[Rule, ...]:
    """What the key may do."""
    if key.agent_id:
        return _NARROW
    if not key.permissions:
        return _FULL
    nouns = [permission.removesuffix(":write") for permission in key.permissions]
    return (*_READS, _SENDS, _ASKS, *(rule(noun, WRITE) for noun in nouns))
