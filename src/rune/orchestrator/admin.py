"""Admin: who the caller is, tokens, users and grants. The rules are in `core.rights`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rune.api.orchestrator import admin, auth, following, users
from rune.core.auth import Identity
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.rights import Rights
from rune.core.store.base import Store
from rune.core.tokens import SYSTEM, Token
from rune.orchestrator.listing import everything


def register(dispatcher: Dispatcher, *, store: Store, rights: Rights, identity: Identity) -> None:
    """Answer the operations of AuthService and AdminService that this release has."""
    people, tokens, grants = People(store, rights), Tokens(store, rights, identity), Grants(store, rights)
    for operation, handler in (
        (auth.whoami, people.whoami),
        (admin.create_user, people.create),
        (admin.list_users, people.list),
        (following.watch_users, people.watch),
        (users.get, people.get),
        (users.update, people.update),
        (users.delete, people.delete),
        (admin.bootstrap, tokens.bootstrap),
        (auth.create_token, tokens.create),
        (auth.revoke_token, tokens.revoke),
        (admin.list_tokens, tokens.list),
        (following.watch_tokens, tokens.watch),
        (admin.create_grant, grants.create),
        (admin.update_grant, grants.update),
        (admin.delete_grant, grants.delete),
        (admin.get_grant, grants.get),
        (admin.list_grants, grants.list),
        (following.watch_grants, grants.watch),
        (admin.attach_grant, grants.attach),
        (admin.detach_grant, grants.detach),
    ):
        dispatcher.handles(operation)(handler)


class People:
    """Users, and who the caller is among them."""

    def __init__(self, store: Store, rights: Rights) -> None:
        self._store = store
        self._rights = rights

    async def whoami(self, call: Call, ask: auth.WhoAmIRequest) -> auth.WhoAmIResponse:
        """The caller's subject and the names of its grants."""
        me = call.principal
        return auth.WhoAmIResponse(
            subject_id=me.id, subject_name=me.name, subject_email=me.email, policies=list(me.grants)
        )

    async def create(self, call: Call, ask: admin.UserCreateRequest) -> admin.UserCreateResponse:
        """A user without a token: that is made by CreateToken."""
        return admin.UserCreateResponse(user=await self._rights.create_user(call.principal, ask))

    async def get(self, call: Call, ask: users.UserGetRequest) -> users.UserGetResponse:
        """By name; a service account too."""
        return users.UserGetResponse(user=self._rights.user(ask.name))

    async def update(self, call: Call, ask: users.UserUpdateRequest) -> users.UserUpdateResponse:
        """Ends the user's streams when its policies change."""
        return users.UserUpdateResponse(user=await self._rights.update_user(call.principal, ask))

    async def delete(self, call: Call, ask: users.UserDeleteRequest) -> users.UserDeleteResponse:
        """Refused for the last one that may do everything."""
        return users.UserDeleteResponse(deleted=True, tokens=await self._rights.delete_user(ask.name))

    async def list(self, call: Call, ask: admin.UserListRequest) -> admin.UserListResponse:
        """Users, not service accounts."""
        revision = self._store.revision
        found = [each for each in self._store.list(admin.Subject, SYSTEM) if each.kind == "user"]
        return admin.UserListResponse(users=found, revision=revision)

    async def watch(
        self, call: Call, ask: following.UserWatchRequest
    ) -> AsyncIterator[following.UserWatchResponse]:
        """Users, not service accounts."""
        async for seen in everything(self._store, ask.resume, kind=admin.Subject):
            if seen.resource.kind == "user":
                yield following.UserWatchResponse(
                    user=seen.resource, event_type=seen.event_type, revision=seen.revision
                )


class Tokens:
    """Tokens are shown with everything but their secret, and with that once, when they are made."""

    def __init__(self, store: Store, rights: Rights, identity: Identity) -> None:
        self._store = store
        self._rights = rights
        self._identity = identity

    async def bootstrap(self, call: Call, ask: admin.AdminBootstrapRequest) -> admin.AdminBootstrapResponse:
        """Works once."""
        token, text = await self._rights.bootstrap()
        return admin.AdminBootstrapResponse(token_id=token.id, token_secret=text, subject_id=token.subject_id)

    async def create(self, call: Call, ask: auth.CreateTokenRequest) -> auth.CreateTokenResponse:
        """Makes the subject as well where there is none."""
        token, text = await self._rights.create_token(call.principal, ask)
        return auth.CreateTokenResponse(id=token.id, name=token.name, secret=text)

    async def revoke(self, call: Call, ask: auth.RevokeTokenRequest) -> auth.RevokeTokenResponse:
        """Ends its open streams as well; a second time is fine."""
        await self._rights.revoke_token(ask.id, force=ask.force)
        return auth.RevokeTokenResponse(revoked=True)

    async def list(self, call: Call, ask: admin.TokenListRequest) -> admin.TokenListResponse:
        """Newest first, the revoked and expired ones as long as they are kept."""
        revision = self._store.revision
        tokens = self._store.list(Token, SYSTEM)
        shown = [self._shown(each) for each in sorted(tokens, key=_age, reverse=True)]
        return admin.TokenListResponse(tokens=shown, revision=revision)

    async def watch(
        self, call: Call, ask: following.TokenWatchRequest
    ) -> AsyncIterator[following.TokenWatchResponse]:
        """What was made, revoked and forgotten; when a token was used last is no change."""
        async for seen in everything(self._store, ask.resume, kind=Token):
            yield following.TokenWatchResponse(
                token=self._shown(seen.resource), event_type=seen.event_type, revision=seen.revision
            )

    def _shown(self, token: Token) -> admin.TokenInfo:
        subject = self._store.find(admin.Subject, SYSTEM, token.subject)
        return admin.TokenInfo(
            id=token.id,
            name=token.name,
            subject_id=token.subject_id,
            subject_type=subject.kind if subject else "",
            description=token.description,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            revoked=token.revoked,
            kind=token.kind,
            last_used_at=self._identity.last_used(token),
        )


def _age(token: Token) -> tuple[float, str]:
    return token.issued_at.timestamp() if token.issued_at else 0.0, token.id


class Grants:
    """Grants, which are called policies on the wire, and whom they are attached to."""

    def __init__(self, store: Store, rights: Rights) -> None:
        self._store = store
        self._rights = rights

    async def create(self, call: Call, ask: admin.PolicyCreateRequest) -> admin.PolicyCreateResponse:
        """Refused when it gives more than the caller has."""
        return admin.PolicyCreateResponse(policy=await self._rights.create_grant(call.principal, ask.policy))

    async def update(self, call: Call, ask: admin.PolicyUpdateRequest) -> admin.PolicyUpdateResponse:
        """Ends the streams of everybody it is attached to."""
        return admin.PolicyUpdateResponse(policy=await self._rights.update_grant(call.principal, ask.policy))

    async def delete(self, call: Call, ask: admin.PolicyDeleteRequest) -> admin.PolicyDeleteResponse:
        """Takes it off everybody as well."""
        await self._rights.delete_grant(ask.name, ask.id)
        return admin.PolicyDeleteResponse(deleted=True)

    async def get(self, call: Call, ask: admin.PolicyGetRequest) -> admin.PolicyGetResponse:
        """By name or id."""
        return admin.PolicyGetResponse(policy=self._rights.grant(ask.name, ask.id))

    async def list(self, call: Call, ask: admin.PolicyListRequest) -> admin.PolicyListResponse:
        """By name, the built-in ones among them."""
        revision = self._store.revision
        return admin.PolicyListResponse(policies=[*self._store.list(admin.Grant, SYSTEM)], revision=revision)

    async def watch(
        self, call: Call, ask: following.PolicyWatchRequest
    ) -> AsyncIterator[following.PolicyWatchResponse]:
        """The built-in ones too, which never change."""
        async for seen in everything(self._store, ask.resume, kind=admin.Grant):
            yield following.PolicyWatchResponse(
                policy=seen.resource, event_type=seen.event_type, revision=seen.revision
            )

    async def attach(
        self, call: Call, ask: admin.PolicyAttachToSubjectRequest
    ) -> admin.PolicyAttachToSubjectResponse:
        """A second time is fine."""
        await self._rights.attach(call.principal, ask)
        return admin.PolicyAttachToSubjectResponse(attached=True)

    async def detach(
        self, call: Call, ask: admin.PolicyDetachFromSubjectRequest
    ) -> admin.PolicyDetachFromSubjectResponse:
        """A second time is fine."""
        await self._rights.detach(ask)
        return admin.PolicyDetachFromSubjectResponse(detached=True)
