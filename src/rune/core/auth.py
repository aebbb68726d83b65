"""Identity: from a credential to a principal, and the moment when that ends.

A token is good as long as the store says so. Principals are kept between calls, and every answer compares
what they were made of with what the store holds now, so a change counts from the commit that makes it.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from dataclasses import dataclass, replace
from datetime import datetime
from hmac import compare_digest
from typing import Final

from rune.api.orchestrator.admin import Grant, Subject
from rune.core.access import Principal, Rule, rule
from rune.core.apikeys import KEY, Keys
from rune.core.call import Caller, Certificate, source
from rune.core.clock import Clock
from rune.core.guesses import Guesses
from rune.core.limits import Quota
from rune.core.sessions import PREFIX, Session, Terms
from rune.core.store.base import Store
from rune.core.tokens import SYSTEM, Token, digest
from rune.errors import OutOfRange, ResourceExhausted, Unauthenticated, Unavailable

logger = logging.getLogger(__name__)

FAILURES: Final = Quota(count=10, seconds=60, burst=20)
"""How many wrong credentials one address may try. One who brings a good one is never held up by it: a
stranger behind the same router could lock others out, and guessing at 244 random bits is hopeless anyway."""
LONGEST: Final = 256
"""Characters of a credential; a token has 73."""
MOST_KNOWN: Final = 10_000
"""Principals kept between calls."""
RE_ARM: Final = 3600.0
"""Seconds after which an expiry is looked at again, as the machine's clock may be set in between."""
NOBODYS_HASH: Final = digest("")
"""What an unknown token is compared with, so that it takes as long as a known one."""

BY_CERTIFICATE: Final = "certificate:"
"""What the credential of a principal begins with that showed a certificate; its fingerprint follows."""


Credential = Token | Session | Certificate


@dataclass(frozen=True, slots=True)
class _Known:
    """A principal and the very resources it was made of."""

    credential: Credential
    subject: Subject
    grants: tuple[Grant | None, ...]
    principal: Principal
    revision: int
    """The newest revision at which this was so."""

    def is_of(self, credential: Credential, subject: Subject, grants: tuple[Grant | None, ...]) -> bool:
        """The store gives out the same object until a resource changes."""
        return (
            self.credential is credential
            and self.subject is subject
            and len(self.grants) == len(grants)
            and all(before is now for before, now in zip(self.grants, grants, strict=True))
        )


class Lost(asyncio.Event):
    """The end of a principal; kept only by those who wait for it."""

    def __init__(self, principal: Principal) -> None:
        super().__init__()
        self.principal = principal
        self.timer: asyncio.TimerHandle | None = None

    def __del__(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Identity:
    """Knows the tokens of a store. `follow` has to run for as long as streams are served."""

    def __init__(
        self, store: Store, clock: Clock, *, keys: Keys | None = None, terms: Terms | None = None
    ) -> None:
        self._grace = (terms or Terms()).grace
        self._store = store
        self._clock = clock
        self._keys = keys
        self._known: dict[str, _Known] = {}
        self._used: dict[str, datetime] = {}
        self.failures = Guesses(FAILURES, clock)
        self._lost: weakref.WeakValueDictionary[str, Lost] = weakref.WeakValueDictionary()
        self._following = False

    def authenticate(self, caller: Caller) -> Principal:
        """Who it is; raises Unauthenticated, or ResourceExhausted after too many failures from an address."""
        if caller.bearer:
            principal = self._of_token(caller.bearer)
        elif caller.api_key:
            principal = self._of_key(caller.api_key)
        elif caller.certificate:
            principal = self._of_certificate(caller.certificate)
        else:
            raise Unauthenticated("missing bearer token")
        if principal is not None:
            return principal
        wait = self.failures.take(source(caller.address))
        if wait:
            raise ResourceExhausted("too many invalid credentials from this address", retry_after=wait)
        raise Unauthenticated(_refusal(caller))

    def _of_key(self, text: str) -> Principal | None:
        return self._keys.of_text(text) if self._keys and len(text) <= LONGEST else None

    def _of_token(self, bearer: str) -> Principal | None:
        """The token's principal; unknown, wrong, revoked and expired ones take the same way to None."""
        text = bearer.strip()[:LONGEST]
        public = text.partition(".")[0]
        token = self._store.find(Token, SYSTEM, public)
        if token is None and (session := self._store.find(Session, SYSTEM, public)) is not None:
            return (
                self._of_session(session) if session.lets_in(text, self._clock.now(), self._grace) else None
            )
        matches = compare_digest(digest(text), token.hash if token else NOBODYS_HASH)
        if token is None or not matches:
            return None
        now = self._clock.now()
        known = self._current(token, now)
        if known is not None:
            self._used[token.id] = now
        return known

    def _current(self, token: Token, now: datetime) -> Principal | None:
        """The principal that a token of the store stands for now, None when it is no longer good."""
        if not token.is_good(now):
            return None
        known = self._known.get(token.id)
        if known is not None and known.revision == self._store.revision:
            return known.principal
        subject = self._store.find(Subject, SYSTEM, token.subject)
        if subject is None or subject.id != token.subject_id:
            return None
        return self._made(subject, token)

    def _of_session(self, session: Session | None) -> Principal | None:
        """The subject of a session that is good now."""
        if session is None or not session.is_good(self._clock.now()) or not self.stands(session):
            return None
        subject = self._store.find(Subject, SYSTEM, session.subject)
        return self._made(subject, session) if subject is not None else None

    def stands(self, session: Session) -> bool:
        """Its subject is still there, and so is what it was begun with."""
        subject, now = self._store.find(Subject, SYSTEM, session.subject), self._clock.now()
        if subject is None or subject.id != session.subject_id:
            return False
        if not session.origin:
            return True
        if session.origin.startswith(PREFIX):
            parent = self._store.find(Session, SYSTEM, session.origin.removeprefix(PREFIX))
            return parent is not None and parent.is_good(now)
        token = self._store.find(Token, SYSTEM, session.origin)
        return token is not None and token.is_good(now)

    def _of_certificate(self, certificate: Certificate) -> Principal | None:
        """The subject of that name, for as long as the certificate lasts."""
        subject = self._store.find(Subject, SYSTEM, certificate.subject)
        if subject is None or certificate.expires_at <= self._clock.now():
            return None
        return self._made(subject, certificate)

    def _made(self, subject: Subject, credential: Credential) -> Principal:
        """The subject's principal, the same object as before where nothing changed."""
        name, _ = _credential(credential)
        known = self._known.get(name)
        grants = tuple(self._store.find(Grant, SYSTEM, each) for each in subject.policies)
        if known is not None and known.is_of(credential, subject, grants):
            principal = known.principal
        else:
            principal = principal_of(subject, grants, credential)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[name] = _Known(credential, subject, grants, principal, self._store.revision)
        return principal

    def last_used(self, token: Token) -> datetime | None:
        """When it was last good for something; newer than what is stored."""
        return self._used.get(token.id, token.last_used_at)

    def take_used(self) -> dict[str, datetime]:
        """The tokens that were used since the last time this was asked, and when."""
        used, self._used = self._used, {}
        return used

    def put_back(self, used: dict[str, datetime]) -> None:
        """Take them again the next time; for uses that could not be written."""
        self._used = {**used, **self._used}

    def lost(self, principal: Principal) -> asyncio.Event:
        """Set once the principal's token is revoked, deleted or expired, or its subject or grants changed.

        More rights end a stream just as fewer do: it was authorized, and maybe filtered, by the rights of
        its first moment, and whoever resumes it is judged by those of now.
        """
        if not principal.credential:
            return asyncio.Event()  # nobody has nothing to lose
        if not self._following:
            raise Unavailable("the server is starting or stopping: try again")
        place = _place(principal)
        event = self._lost.get(place)
        if event is not None:
            self._judge(event)
        if event is None or event.is_set() or not _is_same(event.principal, principal):
            event = Lost(principal)
            self._judge(event)
            if not event.is_set():  # what was so before must not stand in the place of what is so now
                self._lost[place] = event
            self._set_timer(event)
        return event

    @property
    def waited_for(self) -> int:
        """The credentials whose end somebody waits for."""
        return len(self._lost)

    async def follow(self) -> None:
        """Tell who waits for the end of a principal; runs until the store closes or it is cancelled."""
        self._following = True
        try:
            while True:
                await self._watch()
        except Unavailable:
            return
        finally:
            self._following = False
            for event in tuple(self._lost.values()):
                event.set()

    async def _watch(self) -> None:
        """Look after each change of who may do what; returns when it fell behind, which is no harm."""
        position = self._store.revision
        self._judge_all()
        try:
            async for change in self._store.watch(position):
                if any(mutation.key.kind in _KINDS for mutation in change.mutations):
                    self._judge_all()
        except OutOfRange:
            logger.warning("identity fell behind the store and looks at everything again")

    def _judge_all(self) -> None:
        for event in tuple(self._lost.values()):
            self._judge(event)

    def _judge(self, event: Lost) -> None:
        """Set the event unless the credential still means the same principal."""
        again, before = self._again(event.principal), event.principal
        if again is not None and _is_same(again, before):
            event.principal = replace(again, organization=before.organization)
            return
        event.set()
        if self._lost.get(_place(before)) is event:
            del self._lost[_place(before)]

    def _again(self, principal: Principal) -> Principal | None:
        """What the principal's credential stands for now."""
        if principal.credential.startswith(BY_CERTIFICATE) and principal.expires_at is not None:
            fingerprint = principal.credential.removeprefix(BY_CERTIFICATE)
            return self._of_certificate(
                Certificate(subject=principal.name, fingerprint=fingerprint, expires_at=principal.expires_at)
            )
        if principal.credential.startswith(PREFIX):
            return self._of_session(
                self._store.find(Session, SYSTEM, principal.credential.removeprefix(PREFIX))
            )
        if principal.kind == KEY:
            return self._keys.current(principal.credential) if self._keys else None
        token = self._store.find(Token, SYSTEM, principal.credential)
        return None if token is None else self._current(token, self._clock.now())

    def _set_timer(self, event: Lost) -> None:
        expires_at = event.principal.expires_at
        if expires_at is None or event.is_set():
            return
        seconds = max((expires_at - self._clock.now()).total_seconds(), 0.001)
        loop = asyncio.get_running_loop()
        event.timer = loop.call_later(min(seconds, RE_ARM), self._look, weakref.ref(event))

    def _look(self, reference: weakref.ref[Lost]) -> None:
        event = reference()
        if event is not None and not event.is_set():
            self._judge(event)
            self._set_timer(event)


def _place(principal: Principal) -> str:
    """A credential may be used in several organizations at a time, and is lost in each."""
    return f"{principal.organization}/{principal.credential}"


_KINDS: Final = frozenset({Token.KIND, Session.KIND, Subject.KIND, Grant.KIND}) | Keys.KINDS


def _is_same(now: Principal, then: Principal) -> bool:
    """It may do the same. A refreshed session ends later, and a call names the organization it acts in."""
    end = now.expires_at if then.credential.startswith(PREFIX) else then.expires_at
    return replace(now, organization=then.organization) == replace(then, expires_at=end)


def _refusal(caller: Caller) -> str:
    """What is said of a wrong credential; not which part of it is wrong."""
    if caller.bearer:
        return "invalid bearer token"
    return (
        "Invalid or missing API key"
        if caller.api_key
        else "the certificate stands for no user or service account"
    )


def _credential(credential: Credential | None) -> tuple[str, datetime | None]:
    """What a principal says of what it showed: a name that is no secret, and its end."""
    if isinstance(credential, Certificate):
        return f"{BY_CERTIFICATE}{credential.fingerprint}", credential.expires_at
    if isinstance(credential, Session):
        return f"{PREFIX}{credential.id}", credential.until
    return (credential.id, credential.expires_at) if credential else ("", None)


def principal_of(
    subject: Subject, grants: tuple[Grant | None, ...], credential: Credential | None = None
) -> Principal:
    """The subject with the rules of its grants; one that is gone gives nothing."""
    name, expires_at = _credential(credential)
    present = tuple(grant for grant in grants if grant is not None)
    return Principal(
        id=subject.id,
        name=subject.name,
        kind=subject.kind,
        email=subject.email,
        grants=tuple(grant.name for grant in present),
        rules=rules_of(present),
        credential=name,
        expires_at=expires_at,
    )


def rules_of(grants: tuple[Grant, ...]) -> tuple[Rule, ...]:
    """Every rule of the grants, each once."""
    rules = [rule(each.resource, each.verbs, each.namespace) for grant in grants for each in grant.rules]
    return tuple(dict.fromkeys(rules))
