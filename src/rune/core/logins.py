"""Log-ins: from a password, a token, a code or a provider's word to a session, and how that goes on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Final

from msgspec.structs import replace

from rune.api.orchestrator.admin import Subject
from rune.api.orchestrator.auth import EnrollRequest
from rune.core.access import Principal
from rune.core.auth import Identity
from rune.core.call import Caller, source
from rune.core.clock import Clock
from rune.core.enrollments import Enrollment
from rune.core.guesses import Guesses
from rune.core.limits import Quota
from rune.core.passwords import Hashes, Password, plain, refuse_weak
from rune.core.rights import Rights
from rune.core.sessions import (
    PREFIX,
    Birth,
    Pair,
    Session,
    Terms,
    Verdict,
    begun,
    given_again,
    id_of,
    judged,
    renewed,
)
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.core.tokens import SYSTEM, digest
from rune.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Violation,
)

MOST: Final = 20_000
"""Sessions of everybody."""
MOST_EACH: Final = 50
"""Sessions of one subject: whoever begins more ends their own oldest."""
MOST_CODES: Final = 1_000
CODE_LASTS: Final = timedelta(hours=1)
LONGEST_CODE: Final = timedelta(days=7)
PER_USER: Final = Quota(count=30, seconds=60, burst=60)
"""Wrong passwords of one user, from wherever they come."""
REFUSED: Final = "wrong user name or password"
"""What is said of both, so that nobody learns who there is."""
NO_REFRESH: Final = "invalid refresh token"
NO_CODE: Final = "the enrollment code is wrong, used or too old"
FOREIGN: Final = ("certificate:", "rune_live_", "rune_test_")
"""Credentials that begin so begin no session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What log-ins stand on."""

    store: Store
    clock: Clock
    identity: Identity
    rights: Rights
    hashes: Hashes
    terms: Terms = field(default_factory=Terms)


class Logins:
    """Begins, refreshes, lists and ends sessions."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._store, self._clock = ground, ground.store, ground.clock
        self._users = Guesses(PER_USER, ground.clock)

    async def with_password(self, name: str, password: str, caller: Caller) -> Pair:
        """A session for a user's password; raises Unauthenticated, ResourceExhausted after many wrong.

        A password can be guessed, so unlike a token's a right one is not heard either while its source waits.
        """
        subject, stored = await self._known(name, password, caller)
        await self._rehash(stored, password)
        return await self.begin(subject, birth(caller, "password"), unless=self._changed(stored))

    async def _known(self, name: str, password: str, caller: Caller) -> tuple[Subject, Password]:
        """The user whose password this is; raises Unauthenticated, ResourceExhausted after many wrong."""
        guesses = ((self._ground.identity.failures, source(caller.address)), (self._users, name))
        for heard, key in guesses:
            if wait := heard.take(key):
                raise ResourceExhausted("too many wrong passwords: wait before the next", retry_after=wait)
        stored = self._store.find(Password, SYSTEM, name)
        subject = self._store.find(Subject, SYSTEM, name)
        is_theirs = stored is not None and subject is not None and stored.subject_id == subject.id
        matches = await self._ground.hashes.check(stored.hash if stored and is_theirs else "", password)
        if not matches or stored is None or subject is None:
            raise Unauthenticated(REFUSED)
        for heard, key in guesses:
            heard.forgive(key)
        return subject, stored

    def _changed(self, checked: Password) -> Callable[[], str]:
        """Why the password that was checked counts no more by now; empty while it does."""

        def why() -> str:
            now = self._store.find(Password, SYSTEM, checked.subject)
            same = now is not None and now.subject_id == checked.subject_id
            return "" if same and now is not None and now.changed_at == checked.changed_at else REFUSED

        return why

    async def _rehash(self, stored: Password, password: str) -> None:
        """Hash it anew where it was hashed with weaker parameters."""
        if not self._ground.hashes.is_old(stored.hash):
            return
        made = await self._ground.hashes.make(password)

        def decide() -> list[Write]:
            now = self._store.find(Password, SYSTEM, stored.subject)
            return [Put(replace(now, hash=made))] if now is not None and now.hash == stored.hash else []

        await settle(self._store, decide, operation="rehash_password")

    async def with_credential(self, principal: Principal, caller: Caller) -> Pair:
        """A session of the caller that ends with the token, or the session, that it showed."""
        if principal.credential.startswith(FOREIGN) or not principal.credential:
            raise PermissionDenied("a session is begun with a token, a password or at the provider")
        subject = self._store.find(Subject, SYSTEM, principal.name)
        if subject is None or subject.id != principal.id:
            raise Unauthenticated("invalid bearer token")
        origin, last, way = principal.credential, principal.expires_at, "token"
        if origin.startswith(PREFIX):
            parent = self._store.find(Session, SYSTEM, origin.removeprefix(PREFIX))
            origin, way = parent.origin if parent and parent.origin else origin, "session"
            last = parent.last if parent else None
        return await self.begin(subject, birth(caller, way, origin=origin, last=last))

    async def begin(
        self,
        subject: Subject,
        how: Birth,
        *,
        unless: Callable[[], str] = str,
        also: Callable[[], list[Write]] = list[Write],
    ) -> Pair:
        """A session of the subject; `also` is written with it, `unless` says why it is not begun."""
        made: list[Pair] = []

        def decide() -> list[Write]:
            found = self._store.find(Subject, SYSTEM, subject.name)
            if why := unless():
                raise Unauthenticated(why)
            if found is None or found.id != subject.id:
                raise Unauthenticated(REFUSED)
            now = self._clock.now()
            pair = begun(found, how, now, terms=self._ground.terms)
            made[:] = [pair]
            return [*also(), *self._room(subject.name), Put(pair.session)]

        await settle(self._store, decide, operation="begin_session")
        return made[0]

    def _room(self, name: str) -> list[Write]:
        """Ends the subject's oldest session where it has too many."""
        every = self._store.list(Session, SYSTEM)
        own = sorted((each for each in every if each.subject == name), key=_age)
        if len(own) < MOST_EACH and len(every) >= MOST:
            raise ResourceExhausted(f"there are {MOST} sessions, the most there may be: revoke some")
        return [Delete(each.key, each.revision) for each in own[: max(0, len(own) + 1 - MOST_EACH)]]

    async def refresh(self, text: str, caller: Caller) -> Pair:
        """The next tokens; a refresh token that was traded before ends the session for whoever has it."""
        made: list[Pair] = []
        reused: list[Session] = []

        def decide() -> list[Write]:
            made.clear()
            session = self._store.find(Session, SYSTEM, id_of(text))
            now, terms = self._clock.now(), self._ground.terms
            verdict = (
                judged(session, text, now, terms=terms, edge=caller.edge) if session else Verdict.STRANGE
            )
            if session is None or verdict is Verdict.STRANGE or not self._ground.identity.stands(session):
                return []
            if verdict is Verdict.REUSED:
                reused[:] = [session]
                return [Delete(session.key, session.revision)]
            pair = (
                renewed(session, text, now, terms=terms)
                if verdict is Verdict.GOOD
                else given_again(session, text)
            )
            made[:] = [pair]
            return [Put(pair.session)] if verdict is Verdict.GOOD else []

        await settle(self._store, decide, operation="refresh_session")
        if reused:
            raise Unauthenticated("refresh token reuse detected; session revoked")
        if not made:
            if wait := self._ground.identity.failures.take(source(caller.address)):
                raise ResourceExhausted("too many invalid credentials from this address", retry_after=wait)
            raise Unauthenticated(NO_REFRESH)
        return made[0]

    async def end(self, session_id: str, asker: Principal) -> bool:
        """End a session of the asker's own, or anybody's where the asker may do everything in `admin`.

        Those that were begun with it end as well. False when there is none; raises NotFound for a stranger's.
        """
        ended: list[Write] = []

        def decide() -> list[Write]:
            every = self._store.list(Session, SYSTEM)
            found = next((each for each in every if each.id == session_id), None)
            if found is not None and found.subject_id != asker.id and not asker.may("admin", "*"):
                raise NotFound("you have no session with this id")
            gone = [
                each for each in every if found and PREFIX + session_id in (each.origin, PREFIX + each.id)
            ]
            ended[:] = [Delete(each.key, each.revision) for each in gone]
            return ended

        await settle(self._store, decide, operation="end_session")
        return bool(ended)

    def shown_to(self, asker: Principal, *, everybody: bool) -> list[Session]:
        """The sessions that are good, newest first; everybody's for whoever may do everything in `admin`."""
        if everybody and not asker.may("admin", "*"):
            raise PermissionDenied("access denied for resource: admin verb: *: list your own sessions")
        now = self._clock.now()
        found = [
            each
            for each in self._store.list(Session, SYSTEM)
            if (everybody or each.subject_id == asker.id)
            and each.is_good(now)
            and self._ground.identity.stands(each)
        ]
        return sorted(found, key=_age, reverse=True)

    async def set_password(self, name: str, password: str, giver: Principal) -> int:
        """Set a user's password, or take it away; sessions that began with one end. Returns how many.

        Nobody sets the password of somebody who may do more: it would be theirs to log in with.
        """
        if password:
            refuse_weak(password, name)
        made = await self._ground.hashes.make(password) if password else ""
        ended: list[Session] = []

        def decide() -> list[Write]:
            user = self._ground.rights.user(name)
            if user.kind != "user":
                raise FailedPrecondition(f"{name!r} is a {user.kind}: services have tokens, not passwords")
            self._ground.rights.refuse_stronger(giver, user)
            every = self._store.list(Session, SYSTEM)
            ended[:] = [each for each in every if each.subject == name and each.way == "password"]
            before = self._store.find(Password, SYSTEM, name)
            writes: list[Write] = [Delete(each.key, each.revision) for each in ended]
            if made:
                fresh = Password(subject=name, subject_id=user.id, hash=made, changed_at=self._clock.now())
                writes.append(Put(replace(fresh, revision=before.revision if before else 0)))
            elif before is not None:
                writes.append(Delete(before.key, before.revision))
            return writes

        await settle(self._store, decide, operation="set_password")
        return len(ended)

    async def change_password(self, asker: Principal, old: str, new: str, *, caller: Caller) -> int:
        """Change the asker's own password; other sessions that began with one end. Returns how many.

        Raises InvalidArgument for a wrong old one, FailedPrecondition for whoever has none: the first is
        somebody else's to give. The session that asks goes on, and the one that it was begun with.
        """
        self._refuse_without(asker)
        try:
            _, checked = await self._known(asker.name, old, caller)
        except Unauthenticated as error:
            raise InvalidArgument.of([Violation("old_password", "is wrong")]) from error
        if plain(old) == plain(new):
            raise InvalidArgument.of([Violation("new_password", "is another than before")])
        refuse_weak(new, asker.name, field="new_password")
        made = await self._ground.hashes.make(new)
        ended: list[Session] = []

        def decide() -> list[Write]:
            if self._changed(checked)():
                raise FailedPrecondition("the password was changed meanwhile: try again with the new one")
            before = self._store.get(Password, SYSTEM, asker.name)
            every = self._store.list(Session, SYSTEM)
            kept = _with_parent(asker.credential, every)
            own = [each for each in every if each.subject == asker.name and each.way == "password"]
            ended[:] = [each for each in own if each.id not in kept]
            fresh = replace(before, hash=made, changed_at=self._clock.now())
            return [*(Delete(each.key, each.revision) for each in ended), Put(fresh)]

        await settle(self._store, decide, operation="change_password")
        return len(ended)

    def _refuse_without(self, asker: Principal) -> None:
        """Raises FailedPrecondition for whoever has no password."""
        stored = self._store.find(Password, SYSTEM, asker.name)
        if stored is None or stored.subject_id != asker.id:
            raise FailedPrecondition(
                "you have no password: whoever looks after the users gives the first "
                "(rune admin user set-password NAME)"
            )

    async def enroll(self, giver: Principal, ask: EnrollRequest) -> tuple[str, datetime]:
        """A code for one session of the subject, which is made where there is none."""
        if ask.ttl_seconds > LONGEST_CODE.total_seconds():
            raise InvalidArgument.of([Violation("ttl_seconds", "is more than a week; 0 is an hour")])
        subject = await self._ground.rights.subject_for(giver, ask)
        minted: list[tuple[str, datetime]] = []

        def decide() -> list[Write]:
            now, every = self._clock.now(), self._store.list(Enrollment, SYSTEM)
            old = [each for each in every if each.expires_at is None or each.expires_at <= now]
            if len(every) - len(old) >= MOST_CODES:
                raise ResourceExhausted(f"there are {MOST_CODES} enrollment codes, the most there may be")
            public, until = secrets.token_hex(8), now + (timedelta(seconds=ask.ttl_seconds) or CODE_LASTS)
            text = f"{public}.{secrets.token_urlsafe(24)}"
            minted[:] = [(text, until)]
            code = Enrollment(
                id=public, subject=subject.name, subject_id=subject.id, expires_at=until, hash=digest(text)
            )
            return [*(Delete(each.key, each.revision) for each in old), Put(code)]

        await settle(self._store, decide, operation="create_enrollment")
        return minted[0]

    async def redeem(self, text: str, caller: Caller) -> Pair:
        """A session for a code; the code is good for nothing afterwards."""
        found = self._store.find(Enrollment, SYSTEM, id_of(text))
        is_right = compare_digest(digest(text), found.hash if found else digest(""))
        if found is None or not is_right or found.expires_at is None or found.expires_at <= self._clock.now():
            if wait := self._ground.identity.failures.take(source(caller.address)):
                raise ResourceExhausted("too many wrong codes: wait before the next", retry_after=wait)
            raise Unauthenticated(NO_CODE)
        subject = self._store.find(Subject, SYSTEM, found.subject)
        if subject is None or subject.id != found.subject_id:
            raise Unauthenticated(NO_CODE)

        def unless() -> str:
            return "" if self._store.find(Enrollment, SYSTEM, found.id) else NO_CODE

        def also() -> list[Write]:
            return [Delete(found.key, found.revision)]

        return await self.begin(subject, birth(caller, "enrollment"), unless=unless, also=also)


def birth(caller: Caller, way: str, *, origin: str = "", last: datetime | None = None) -> Birth:
    """How a session of this caller begins."""
    return Birth(way=way, edge=caller.edge, address=caller.address[:64], origin=origin, last=last)


def _with_parent(credential: str, every: Iterable[Session]) -> set[str]:
    """The id of the session that a credential is of, and of the one that it was begun with."""
    own = credential.removeprefix(PREFIX) if credential.startswith(PREFIX) else ""
    parents = {each.origin.removeprefix(PREFIX) for each in every if each.id == own}
    return {own, *parents}


def _age(session: Session) -> tuple[float, str]:
    return session.begun_at.timestamp() if session.begun_at else 0.0, session.id
