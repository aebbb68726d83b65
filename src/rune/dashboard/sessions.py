"""Sessions: a cookie stands for a session's tokens, which stay here; one-time codes begin one.

The sessions themselves are the server's, like those of `rune login --user`: listed, revoked, and gone with
their users. The cookie says the parts of the refresh token that stay, so it outlives what is in memory here.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from rune.core.clock import Clock
from rune.core.sessions import lasting

LONGEST: Final = 12 * 3600.0
"""Seconds after which a session ends, however busy it is."""
IDLE: Final = 2 * 3600.0
"""Seconds without a request or an open page after which it ends."""
MOST: Final = 1000
"""Sessions in memory; one more closes the pages of the one that began first."""
CODE_SECONDS: Final = 60.0
MOST_CODES: Final = 100
MOST_EACH: Final = 50
"""Sessions of one subject: whoever begins more closes their own pages, nobody else's."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a session has just now."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: float
    """When the access token ends, in Unix seconds."""


@dataclass(slots=True, eq=False)
class Session:
    """One log-in. Its tokens are in memory alone, and in no repr."""

    tokens: Tokens = field(repr=False)
    name: str
    until: float
    used: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while its tokens are traded for the next ones."""
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when it is over: pages that are open say good-bye."""


@dataclass(frozen=True, slots=True)
class _Code:
    token: str = field(repr=False)
    until: float


class Sessions:
    """All that are in use, by the hash of their cookies; nothing of it survives the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._codes: dict[str, _Code] = {}
        self.turn = asyncio.Lock()
        """Held while a session comes back, lest two pages trade for it at the same time."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, tokens: Tokens, name: str) -> str:
        """Keep a session that the server has begun, or brought back; returns what the cookie says."""
        own = [key for key, session in self._open.items() if session.name == name]
        if len(own) >= MOST_EACH:
            self._end(own[0])
        if len(self._open) >= MOST:
            self._end(next(iter(self._open)))
        cookie, now = lasting(tokens.refresh), self._clock.monotonic()
        self._open[_hash(cookie)] = Session(tokens, name, now + LONGEST, now)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, as long as it lasts; it counts as used now."""
        if not cookie:
            return None
        key, now = _hash(cookie), self._clock.monotonic()
        session = self._open.get(key)
        if session is None:
            return None
        if session.ended.is_set() or now > session.until or now - session.used > IDLE:
            self._end(key)
            return None
        session.used = now
        return session

    def end(self, session: Session) -> None:
        """Log out; a second time is fine."""
        for key, each in list(self._open.items()):
            if each is session:
                self._end(key)

    def is_over(self, session: Session) -> bool:
        """An open page asks this now and then, and is in use while it asks."""
        session.used = self._clock.monotonic()
        return session.ended.is_set() or session.used > session.until

    def code(self, token: str) -> str:
        """A code that begins one session within a minute; the one before, of the same token, is void."""
        now = self._clock.monotonic()
        self._codes = {
            key: code for key, code in self._codes.items() if code.until > now and code.token != token
        }
        while len(self._codes) >= MOST_CODES:
            del self._codes[next(iter(self._codes))]
        text = secrets.token_urlsafe(24)
        self._codes[_hash(text)] = _Code(token, now + CODE_SECONDS)
        return text

    def redeem(self, text: str) -> str | None:
        """The credential behind a code; the code is good for nothing afterwards."""
        code = self._codes.pop(_hash(text), None)
        return code.token if code and code.until > self._clock.monotonic() else None

    def _end(self, key: str) -> None:
        self._open.pop(key).ended.set()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
