"""Sessions: what a log-in gives. A short access token, and a refresh token that is good for one trade.

Both begin with the session's id. A refresh token has two secret parts: one that stays the same for the whole
session, and one that changes with every trade. Whoever shows the first with an old second holds a copy: the
session ends. Whoever shows neither is a stranger, and ends nothing. What a trade gives is derived from the
token that was brought and a salt of the session, so that two that trade at the same moment get the same.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from rune.api.fields import Timestamp
from rune.api.orchestrator.admin import Subject
from rune.api.resource import Key, Resource
from rune.core.tokens import SYSTEM, digest

BROWSER: Final = "dashboard"
"""The edge whose sessions end soon: a browser may stand anywhere."""
PREFIX: Final = "session:"
"""What the credential of a principal begins with that came with a session; its id follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long things last."""

    access: timedelta = timedelta(minutes=15)
    idle: timedelta = timedelta(days=30)
    """Without a refresh, after which a session ends."""
    grace: timedelta = timedelta(seconds=30)
    """After a refresh, in which the tokens before are still good: two may have asked at the same time."""
    browser_idle: timedelta = timedelta(hours=2)
    browser_longest: timedelta = timedelta(hours=12)


class Session(Resource):
    """One log-in of a subject. None of its hashes show when it is printed."""

    KIND: ClassVar[str] = "session"

    id: str
    subject: str
    subject_id: str
    way: str
    """How it began: `password`, `oidc`, `token`, `session` or `enrollment`."""
    origin: str = ""
    """The token (its id) or session (`session:` and its id) that it was begun with, and ends with."""
    edge: str = ""
    address: str = ""
    begun_at: Timestamp = None
    refreshed_at: Timestamp = None
    until: Timestamp = None
    """When it ends unless it is refreshed."""
    last: Timestamp = None
    """When it ends in any case; None: never."""
    access_until: Timestamp = None
    access: str
    """SHA-256 of the access token, as of everything below."""
    access_before: str = ""
    family: str
    """Of the part of refresh tokens that stays."""
    refresh: str
    refresh_before: str = ""
    salt: str = ""
    """What the newest tokens were derived with, from the refresh token before."""

    @property
    def key(self) -> Key:
        """Sessions live in the `system` namespace, by id."""
        return Key(self.KIND, SYSTEM, self.id)

    def is_good(self, now: datetime) -> bool:
        """It has not ended yet. One that was revoked is no more in the store."""
        return self.until is not None and now < self.until

    def lets_in(self, text: str, now: datetime, grace: timedelta) -> bool:
        """The text is the access token of now, or within the grace that of before."""
        shown = digest(text)
        is_newest = hmac.compare_digest(shown, self.access)
        is_before = hmac.compare_digest(shown, self.access_before or self.access)
        is_fresh = self.access_until is not None and now < self.access_until
        in_grace = self.refreshed_at is not None and now < self.refreshed_at + grace
        return self.is_good(now) and ((is_newest and is_fresh) or (is_before and is_fresh and in_grace))

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be printed."""
        return [("id", self.id), ("subject", self.subject), ("way", self.way), ("until", self.until)]

    def __repr__(self) -> str:
        return f"Session({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The tokens of a session, which nobody can find out again. They do not print."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    session: Session


class Verdict(Enum):
    """What a refresh token is."""

    GOOD = "good"
    AGAIN = "again"
    """It was traded a moment ago: the same tokens are given again."""
    REUSED = "reused"
    """An old one: somebody has a copy."""
    STRANGE = "strange"


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """How a session begins."""

    way: str
    edge: str = ""
    address: str = ""
    origin: str = ""
    last: datetime | None = None


def begun(subject: Subject, birth: Birth, now: datetime, *, terms: Terms) -> Pair:
    """A new session of the subject, not stored yet; one of a browser ends soon."""
    is_browser, last = birth.edge == BROWSER, birth.last
    if is_browser:
        last = min(last or now + terms.browser_longest, now + terms.browser_longest)
    idle = terms.browser_idle if is_browser else terms.idle
    # Not from a clock: ids that a test can foresee are not for secrets.
    session_id = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    access = f"{session_id}.{secrets.token_hex(32)}"
    family, part = secrets.token_hex(16), secrets.token_hex(32)
    until = min(now + idle, last) if last else now + idle
    session = Session(
        id=session_id, subject=subject.name, subject_id=subject.id, way=birth.way,
        origin=birth.origin, edge=birth.edge, address=birth.address, begun_at=now,
        refreshed_at=now, until=until, last=last,
        access_until=min(now + terms.access, until), access=digest(access), family=digest(family),
        refresh=digest(part),
    )  # fmt: skip
    return Pair(access=access, refresh=f"{session_id}.{family}.{part}", session=session)


def lasting(refresh: str) -> str:
    """The parts of a refresh token that stay: what a browser's cookie says."""
    return refresh.rpartition(".")[0]


def judged(session: Session, text: str, now: datetime, *, terms: Terms, edge: str = "") -> Verdict:
    """What the text is to the session. The dashboard, and nobody else, comes back with what stays of it."""
    family, part = _parts(text)
    is_ours = hmac.compare_digest(digest(family), session.family)
    is_newest = hmac.compare_digest(digest(part), session.refresh)
    is_before = hmac.compare_digest(digest(part), session.refresh_before or session.refresh)
    if not is_ours or not session.is_good(now):
        return Verdict.STRANGE
    if is_newest or (not part and session.edge == edge == BROWSER):
        return Verdict.GOOD
    in_grace = session.refreshed_at is not None and now < session.refreshed_at + terms.grace
    return Verdict.AGAIN if is_before and in_grace else Verdict.REUSED


def renewed(session: Session, text: str, now: datetime, *, terms: Terms) -> Pair:
    """The session's next tokens, for a refresh token that was judged good; not stored yet."""
    idle = terms.browser_idle if session.edge == BROWSER else terms.idle
    until = min(now + idle, session.last) if session.last else now + idle
    salt = secrets.token_hex(32)
    changed = replace(
        session, salt=salt, refreshed_at=now, until=until, access_until=min(now + terms.access, until),
        access_before=session.access, refresh_before=session.refresh,
    )  # fmt: skip
    pair = given_again(changed, text)
    _, part = _parts(pair.refresh)
    stored = replace(changed, access=digest(pair.access), refresh=digest(part))
    return Pair(access=pair.access, refresh=pair.refresh, session=stored)


def given_again(session: Session, text: str) -> Pair:
    """What a refresh token was traded for; only whoever has the token can tell."""
    family, part = _parts(text)
    known = part or family  # never the salt alone: that is in the store
    access = f"{session.id}.{_derived(session.salt, 'access', known)}"
    refresh = f"{session.id}.{family}.{_derived(session.salt, 'refresh', known)}"
    return Pair(access=access, refresh=refresh, session=session)


def id_of(text: str) -> str:
    """The session that a token of either sort speaks of."""
    return text.partition(".")[0]


def _parts(text: str) -> tuple[str, str]:
    """The part that stays and the part that changes; empty where the text has none."""
    _, _, rest = text.partition(".")
    family, _, part = rest.partition(".")
    return family, part


def _derived(salt: str, what: str, part: str) -> str:
    return hmac.new(salt.encode(), f"{what}.{part}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()
