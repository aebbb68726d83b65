"""Rights: how subjects, grants and tokens change, each change decided against the newest state of all.

Two changes that are each harmless may together lock everybody out, so they are put in a row: a lock within
this process, and the roster that each of them writes, for processes that share a store.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from msgspec.structs import replace

from rune.api.fields import LABEL
from rune.api.orchestrator.admin import (
    Grant,
    PolicyAttachToSubjectRequest,
    PolicyDetachFromSubjectRequest,
    Subject,
    UserCreateRequest,
)
from rune.api.orchestrator.auth import CreateTokenRequest, EnrollRequest
from rune.api.orchestrator.users import UserUpdateRequest
from rune.api.resource import Resource
from rune.core.access import Principal, Rule
from rune.core.auth import rules_of
from rune.core.chain import Seal
from rune.core.clock import Clock
from rune.core.enrollments import KINDS as BELONGINGS
from rune.core.enrollments import Federated, gone_with
from rune.core.roles import READONLY, ROOT, faults, within
from rune.core.roots import keeping_a_root, keeping_a_way_in
from rune.core.roster import Roster
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.core.tokens import SYSTEM, Token, mint
from rune.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Violation,
)

MOST: Final[dict[type[Resource], int]] = {Subject: 10_000, Grant: 1_000, Token: 20_000}
"""How many there may be of each."""
KINDS_OF_SUBJECT: Final = ("user", "service")
LONGEST_LIFETIME: Final = timedelta(days=3660)
"""Of a token that expires."""


KINDS: Final = (Subject, Grant, Token, Roster, Seal, *BELONGINGS)
"""What a store must be made with."""

N = TypeVar("N", Subject, Grant)


class Rights:
    """Changes who may do what. Nobody gives more than they have; somebody always keeps everything."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()

    async def bootstrap(self) -> tuple[Token, str]:
        """The first token, of the user `root`; raises FailedPrecondition ever after."""
        minted: list[tuple[Token, str]] = []

        def decide() -> list[Write]:
            done = self._roster.bootstrapped_at
            if done is not None:
                raise FailedPrecondition(f"this server was bootstrapped at {done:%Y-%m-%dT%H:%MZ} already")
            subject = self._subject(ROOT, "user", [ROOT])
            token, text = mint(subject, self._clock.now())
            token = replace(token, name="bootstrap", description="made by the bootstrap of this server")
            minted[:] = [(token, text)]
            roster = replace(self._roster, bootstrapped_at=self._clock.now())
            return [Put(subject), Put(token), Put(roster)]

        await self._change("bootstrap", decide)
        return minted[0]

    async def create_token(self, giver: Principal, ask: CreateTokenRequest) -> tuple[Token, str]:
        """A token and its text; a subject that is new gets the given grants or `readonly`."""
        minted: list[tuple[Token, str]] = []

        def decide() -> list[Write]:
            found = self._addressed(ask)
            subject = found or self._newcomer(ask)
            self._refuse_more_than(
                giver, rules_of(self._grants(subject.policies)), f"a token of {subject.name!r}"
            )
            self._refuse_too_many(Token)
            token, text = mint(subject, self._clock.now(), lifetime=_lifetime(ask))
            token = replace(
                token, name=ask.name or subject.name, description=ask.description, kind=ask.kind or "access"
            )
            minted[:] = [(token, text)]
            return [Put(token)] if found else [Put(subject), Put(token)]

        await self._change("create_token", decide)
        return minted[0]

    async def revoke_token(self, id: str, *, force: bool = False) -> None:
        """It is good for nothing from now on; a second time changes nothing.

        Raises NotFound, and FailedPrecondition for the last one that may do everything, unless forced.
        """

        def decide() -> list[Write]:
            token = self._store.find(Token, SYSTEM, id)
            if token is None:
                raise NotFound("there is no token with this id")
            if token.revoked:
                return []
            writes: list[Write] = [Put(replace(token, revoked=True, revoked_at=self._clock.now()))]
            return writes if force else keeping_a_way_in(self._store, writes, self._clock.now())

        await self._change("revoke_token", decide)

    def refuse_stronger(self, giver: Principal, subject: Subject) -> None:
        """Raises PermissionDenied where the subject may do more than whoever would act for it."""
        self._refuse_more_than(giver, rules_of(self._grants(subject.policies)), repr(subject.name))

    async def subject_for(self, giver: Principal, ask: EnrollRequest) -> Subject:
        """The subject that a code is for, made where there is none, as for a token."""
        as_token = CreateTokenRequest(
            subject_name=ask.subject_name, subject_type=ask.subject_type, policies=ask.policies
        )

        def decide() -> list[Write]:
            found = self._addressed(as_token)
            self.refuse_stronger(giver, found or self._newcomer(as_token))
            return [] if found else [Put(self._newcomer(as_token))]

        await self._change("create_enrollment", decide)
        return self.user(ask.subject_name)

    async def federate(self, person: Federated, wanted: Subject) -> Subject:
        """The user that a person of a provider is, made where there is none, with the wanted policies.

        Raises PermissionDenied where another user has the name already.
        """
        found: list[Subject] = []

        def decide() -> list[Write]:
            link = self._store.find(Federated, SYSTEM, person.id)
            subject = self._store.find(Subject, SYSTEM, link.subject) if link else None
            if link is not None and subject is not None and subject.id == link.subject_id:
                self._grants(wanted.policies)
                changed = replace(subject, email=wanted.email or subject.email, policies=wanted.policies)
                found[:] = [changed]
                return [] if changed == subject else keeping_a_root(self._store, [Put(changed)])
            if self._store.find(Subject, SYSTEM, wanted.name) is not None:
                raise PermissionDenied(f"a user {wanted.name!r} is here already, and is somebody else")
            fresh = self._subject(wanted.name, "user", wanted.policies, email=wanted.email)
            found[:] = [fresh]
            made = replace(
                person, subject=fresh.name, subject_id=fresh.id, revision=link.revision if link else 0
            )
            return [Put(fresh), Put(made)]

        await self._change("federate_user", decide)
        return found[0]

    def user(self, name: str) -> Subject:
        """The user or service account; raises NotFound."""
        return self._named(Subject, name, "")

    async def update_user(self, giver: Principal, ask: UserUpdateRequest) -> Subject:
        """Replace what is named; a revision that is named must be the stored one."""

        def decide() -> list[Write]:
            stored = self.user(ask.name)
            if ask.revision not in (0, stored.revision):
                raise Conflict(f"user {ask.name!r} is at revision {stored.revision}, not {ask.revision}")
            policies = list(dict.fromkeys(ask.policies)) or stored.policies
            gained = [name for name in policies if name not in stored.policies]
            self._refuse_more_than(giver, rules_of(self._grants(gained)), f"user {ask.name!r}")
            changed = replace(stored, email=ask.email or stored.email, policies=policies)
            return [] if changed == stored else keeping_a_root(self._store, [Put(changed)])

        await self._change("update_user", decide)
        return self.user(ask.name)

    async def delete_user(self, name: str) -> int:
        """Delete it with its tokens and sessions, in one commit; returns how many tokens there were."""
        gone: list[Token] = []

        def decide() -> list[Write]:
            user = self.user(name)
            gone[:] = [each for each in self._store.list(Token, SYSTEM) if each.subject == name]
            writes: list[Write] = [Delete(each.key, each.revision) for each in gone]
            writes += [*gone_with(self._store, name), Delete(user.key, user.revision)]
            keeping_a_root(self._store, writes)
            return keeping_a_way_in(self._store, writes, self._clock.now())

        await self._change("delete_user", decide)
        return len(gone)

    async def create_user(self, giver: Principal, ask: UserCreateRequest) -> Subject:
        """The user with the given grants, or `readonly`."""

        def decide() -> list[Write]:
            if self._store.find(Subject, SYSTEM, ask.name) is not None:
                raise AlreadyExists(f"user {ask.name!r} exists already")
            user = self._subject(ask.name, "user", ask.policies or [READONLY], email=ask.email)
            self._refuse_more_than(giver, rules_of(self._grants(user.policies)), f"user {ask.name!r}")
            return [Put(user)]

        await self._change("create_user", decide)
        return self._store.get(Subject, SYSTEM, ask.name)

    async def create_grant(self, giver: Principal, wanted: Grant) -> Grant:
        """The grant as it was stored; its id and `builtin` are the server's to say."""

        def decide() -> list[Write]:
            self._refuse_bad(giver, wanted)
            if self._store.find(Grant, SYSTEM, wanted.name) is not None:
                raise AlreadyExists(f"policy {wanted.name!r} exists already")
            self._refuse_too_many(Grant)
            return [Put(replace(wanted, id=self._clock.new_id(), revision=0))]

        await self._change("create_grant", decide)
        return self._store.get(Grant, SYSTEM, wanted.name)

    async def update_grant(self, giver: Principal, wanted: Grant) -> Grant:
        """Replace description and rules; a revision that is named must be the stored one."""

        def decide() -> list[Write]:
            stored = self._changeable(self.grant(wanted.name, wanted.id))
            if wanted.revision not in (0, stored.revision):
                raise Conflict(
                    f"policy {wanted.name!r} is at revision {stored.revision}, not {wanted.revision}"
                )
            self._refuse_bad(giver, wanted)
            changed = replace(stored, description=wanted.description, rules=wanted.rules)
            return [] if changed == stored else keeping_a_root(self._store, [Put(changed)])

        await self._change("update_grant", decide)
        return self._store.get(Grant, SYSTEM, wanted.name)

    async def delete_grant(self, name: str, id: str) -> None:
        """Delete it and take it off every subject, in one commit."""

        def decide() -> list[Write]:
            grant = self._changeable(self.grant(name, id))
            bearers = [each for each in self._store.list(Subject, SYSTEM) if grant.name in each.policies]
            writes: list[Write] = [Put(_without(each, grant)) for each in bearers]
            return keeping_a_root(self._store, [*writes, Delete(grant.key, grant.revision)])

        await self._change("delete_grant", decide)

    async def attach(self, giver: Principal, ask: PolicyAttachToSubjectRequest) -> None:
        """Give the grant to the subject; a second time changes nothing."""

        def decide() -> list[Write]:
            given, subject = self._pair(ask)
            self._refuse_more_than(giver, rules_of((given,)), f"policy {given.name!r}")
            if given.name in subject.policies:
                return []
            return [Put(replace(subject, policies=[*subject.policies, given.name]))]

        await self._change("attach_grant", decide)

    async def detach(self, ask: PolicyDetachFromSubjectRequest) -> None:
        """Take the grant from the subject; a second time changes nothing."""

        def decide() -> list[Write]:
            taken, bearer = self._pair(ask)
            if taken.name not in bearer.policies:
                return []
            return keeping_a_root(self._store, [Put(_without(bearer, taken))])

        await self._change("detach_grant", decide)

    def _pair(
        self, ask: PolicyAttachToSubjectRequest | PolicyDetachFromSubjectRequest
    ) -> tuple[Grant, Subject]:
        subject = self._named(Subject, ask.subject_name, ask.subject_id)
        return self.grant(ask.policy_name, ask.policy_id), _of_kind(subject, ask.subject_kind)

    def grant(self, name: str, id: str) -> Grant:
        """By name or id, which must agree; raises NotFound."""
        return self._named(Grant, name, id)

    def _named(self, kind: type[N], name: str, id: str) -> N:
        noun = "policy" if kind is Grant else "subject"
        if name:
            found = self._store.find(kind, SYSTEM, name)
        elif id:
            found = next((each for each in self._store.list(kind, SYSTEM) if each.id == id), None)
        else:
            raise InvalidArgument(f"the {noun}'s name or id is required")
        if found is None:
            raise NotFound(f"{noun} {name or id!r} does not exist")
        if id and found.id != id:
            raise InvalidArgument(f"the {noun} named {name!r} has another id")
        return found

    async def _change(self, operation: str, decide: Callable[[], list[Write]]) -> None:
        def with_roster() -> list[Write]:
            writes = decide()
            has_roster = any(isinstance(each, Put) and isinstance(each.value, Roster) for each in writes)
            return [*writes, Put(self._roster)] if writes and not has_roster else writes

        async with self._turn:
            await settle(self._store, with_roster, operation=operation)

    @property
    def _roster(self) -> Roster:
        return self._store.find(Roster, SYSTEM, Roster.KIND) or Roster()

    def _addressed(self, ask: CreateTokenRequest) -> Subject | None:
        """The subject that the request speaks of, if there is one; it keeps its grants and its kind."""
        kind = ask.subject_type
        if kind and kind not in KINDS_OF_SUBJECT:
            raise InvalidArgument(f"invalid subject-type: {kind[:32]!r} (there are user and service)")
        name = ask.subject_name or ("" if ask.subject_id else ask.name)
        if not ask.subject_id and self._store.find(Subject, SYSTEM, name) is None:
            return None
        subject = _of_kind(self._named(Subject, name, ask.subject_id), kind)
        if ask.policies and set(ask.policies) != set(subject.policies):
            raise FailedPrecondition(
                f"{subject.kind} {subject.name!r} has other policies "
                f"({', '.join(subject.policies) or 'none'}): attach or detach them, a token does not"
            )
        return subject

    def _newcomer(self, ask: CreateTokenRequest) -> Subject:
        name, field = (ask.subject_name, "subject_name") if ask.subject_name else (ask.name, "name")
        if not re.fullmatch(LABEL, name):
            rule = "1 to 63 lowercase letters, digits or hyphens, with a letter or digit at both ends"
            raise InvalidArgument.of([Violation(field, f"a new subject's name has {rule}")])
        return self._subject(name, ask.subject_type or "user", ask.policies or [READONLY])

    def _subject(self, name: str, kind: str, policies: Sequence[str], *, email: str = "") -> Subject:
        self._refuse_too_many(Subject)
        self._grants(policies)
        policies = list(dict.fromkeys(policies))
        return Subject(id=self._clock.new_id(), kind=kind, name=name, email=email, policies=policies)

    def _grants(self, names: Sequence[str]) -> tuple[Grant, ...]:
        """Raises NotFound with every name that is none."""
        found = {name: self._store.find(Grant, SYSTEM, name) for name in names}
        unknown = [name for name, grant in found.items() if grant is None]
        if unknown:
            raise NotFound(f"unknown policies: {', '.join(map(repr, unknown))}")
        return tuple(grant for grant in found.values() if grant is not None)

    def _refuse_bad(self, giver: Principal, wanted: Grant) -> None:
        violations = faults(wanted.rules, "policy.rules")
        if wanted.builtin:
            violations.append(Violation("policy.builtin", "is set by the server alone"))
        if violations:
            raise InvalidArgument.of(violations)
        self._refuse_more_than(giver, rules_of((wanted,)), f"policy {wanted.name!r}")

    def _refuse_more_than(self, giver: Principal, rules: Iterable[Rule], what: str) -> None:
        if not within(rules, giver.rules):
            raise PermissionDenied(f"{what} would have more rights than your own")

    def _refuse_too_many(self, kind: type[Resource]) -> None:
        most = MOST[kind]
        if len(self._store.list(kind, SYSTEM)) >= most:
            raise ResourceExhausted(
                f"there are {most} resources of kind {kind.KIND!r}, the most there may be"
            )

    @staticmethod
    def _changeable(grant: Grant) -> Grant:
        if grant.builtin:
            raise FailedPrecondition(
                f"policy {grant.name!r} is built in: it can be neither changed nor deleted"
            )
        return grant


def _lifetime(ask: CreateTokenRequest) -> timedelta | None:
    """How long a token is good; None for ever."""
    if ask.ttl_seconds > LONGEST_LIFETIME.total_seconds():
        raise InvalidArgument.of([Violation("ttl_seconds", "is more than ten years; 0 never expires")])
    return timedelta(seconds=ask.ttl_seconds) or None


def _of_kind(subject: Subject, kind: str) -> Subject:
    if kind and subject.kind != kind:
        raise NotFound(f"subject {subject.name!r} is a {subject.kind}, not a {kind[:32]}")
    return subject


def _without(subject: Subject, grant: Grant) -> Subject:
    return replace(subject, policies=[name for name in subject.policies if name != grant.name])
