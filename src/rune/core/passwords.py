"""Passwords: argon2id hashes beside their users. Whoever names nobody waits as long as whoever guesses wrong.

Hashing takes 64 MiB and some tens of milliseconds, so it happens in a thread, few at a time, and past a short
queue it is refused: guesses must not cost the server more than they cost the guesser.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from typing import Any, ClassVar, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from rune.api.fields import Timestamp
from rune.api.resource import Key, Resource
from rune.core.tokens import SYSTEM
from rune.errors import InvalidArgument, ResourceExhausted, Violation

SHORTEST: Final = 12
LONGEST: Final = 256
AT_ONCE: Final = 2
"""Hashes that are made at the same time: 128 MiB."""
MOST_WAITING: Final = 32


class Password(Resource):
    """A user's password. Its hash never shows when it is printed."""

    KIND: ClassVar[str] = "password"

    subject: str
    subject_id: str
    """And its id, so that it is not the password of a later user of the same name."""
    hash: str
    changed_at: Timestamp = None

    @property
    def key(self) -> Key:
        """They live in the `system` namespace, by the user's name."""
        return Key(self.KIND, SYSTEM, self.subject)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be printed."""
        return [("subject", self.subject), ("changed_at", self.changed_at)]

    def __repr__(self) -> str:
        return f"Password({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Hashes:
    """Makes and checks them."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._decoy = ""

    async def make(self, password: str) -> str:
        """The hash of a new password."""
        return await self._apart(self._hasher.hash, plain(password))

    async def check(self, stored: str, password: str) -> bool:
        """Whether it is the one; `stored` is empty for nobody, whose check takes as long."""
        if not self._decoy:
            self._decoy = await self._apart(self._hasher.hash, secrets.token_hex(16))
        matches = await self._apart(self._matches, stored or self._decoy, plain(password)[:LONGEST])
        return matches and bool(stored)

    def is_old(self, stored: str) -> bool:
        """It was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _apart(self, work: Any, *args: str) -> Any:  # noqa: ANN401 - two functions with their results
        if self._waiting >= MOST_WAITING:
            raise ResourceExhausted("too many log-ins at the same time: try again in a moment", retry_after=1)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *args)
        finally:
            self._waiting -= 1


def plain(password: str) -> str:
    """The same characters however a keyboard composes them."""
    return unicodedata.normalize("NFKC", password)


def refuse_weak(password: str, name: str, *, field: str = "password") -> None:
    """Raises InvalidArgument for one that is too short, too long, or the name itself."""
    length, reason = len(plain(password)), ""
    if not SHORTEST <= length <= LONGEST:
        reason = f"has {SHORTEST} to {LONGEST} characters"
    elif len(set(password)) < 4:  # noqa: PLR2004 - what hardly is a word
        reason = "has more than three different characters"
    elif password.casefold().strip() == name.casefold() * max(1, length // len(name)):
        reason = "is not the user's name"
    if reason:
        raise InvalidArgument.of([Violation(field, reason)])
