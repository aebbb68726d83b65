"""Handlers of API keys: they are made, listed and revoked by administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from msgspec.structs import replace

from rune.api.security import apikeys as api
from rune.api.security.words import Updated
from rune.core.access import space
from rune.core.apikeys import ApiKey, mint
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.core.tokens import SYSTEM
from rune.errors import NotFound, PermissionDenied, ResourceExhausted
from rune.security import following, organizations, quarantine
from rune.security.pages import newest_first

MOST: Final = 10_000
"""Keys of all organizations together."""
KEPT: Final = timedelta(days=30)
"""How long a revoked or expired key is still listed."""


class ApiKeys:
    """What can be done with API keys."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.create)(self.create)
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.watch)(self.watch)
        dispatcher.handles(api.revoke)(self.revoke)

    async def create(self, call: Call, ask: api.CreateApiKeyRequest) -> api.CreateApiKeyResponse:
        """A new key; nobody can find out its text again."""
        key, text = await self.issue(self._organization(call, ask.organization), ask, by=call.principal.name)
        return api.CreateApiKeyResponse(id=key.id, key=text, prefix=key.prefix, expires_at=key.expires_at)

    async def issue(self, organization: str, ask: api.CreateApiKeyRequest, *, by: str) -> tuple[ApiKey, str]:
        """A key of the organization, and its text; raises NotFound for an organization that there is not."""
        made: list[tuple[ApiKey, str]] = []

        def decide() -> list[Write]:
            organizations.tenant_of(self._store, organization)
            every = self._store.list(ApiKey, SYSTEM)
            old = [Delete(each.key, each.revision) for each in every if self._is_old(each)]
            if len(every) - len(old) >= MOST:
                raise ResourceExhausted(f"there are {MOST} API keys, the most there may be: revoke some")
            prefix, hashed, text = mint(test=ask.test)
            key = self._key(organization, ask, prefix=prefix, hashed=hashed)
            is_held = quarantine.is_held(self._store, organization, ask.agent_id)
            made[:] = [(replace(key, created_by=by, suspended=is_held), text)]
            return [Put(made[0][0]), *old[:100]]

        await settle(self._store, decide, operation=api.create.name)
        return made[0]

    async def list(self, call: Call, ask: api.ListApiKeysRequest) -> api.ListApiKeysResponse:
        """The organization's keys, newest first."""
        found, cursor = organizations.cursors(self._store).page(
            call,
            self._of(self._organization(call, ask.organization)),
            lambda key: newest_first(key.created_at, key.prefix),
            limit=ask.limit,
            cursor=ask.cursor,
        )
        return api.ListApiKeysResponse(api_keys=list(map(_shown, found)), next_cursor=cursor)

    async def watch(
        self, call: Call, ask: api.WatchApiKeysRequest
    ) -> AsyncIterator[api.WatchApiKeysResponse]:
        """The organization's keys, and what becomes of them; one that is forgotten is deleted."""
        organization = self._organization(call, ask.organization)
        admits = following.owned(ApiKey, organization, lambda key: not self._is_old(key))
        rows = partial(self._store.list, ApiKey, SYSTEM)
        async for each in following.items(self._store, ask.resume, admits, rows=rows):
            yield api.WatchApiKeysResponse(
                api_key=each.resource and _shown(each.resource),
                event_type=each.event_type,
                revision=each.revision,
            )

    async def revoke(self, call: Call, ask: api.RevokeApiKeyRequest) -> Updated:
        """Good for nothing from now on; a second time changes nothing."""
        organization = self._organization(call, ask.organization)

        def decide() -> list[Write]:
            found = next((key for key in self._of(organization) if key.id == ask.api_key_id), None)
            if found is None:
                raise NotFound(f"there is no API key {ask.api_key_id!r}")
            return [] if found.revoked_at else [Put(replace(found, revoked_at=self._clock.now()))]

        await settle(self._store, decide, operation=call.operation.name)
        return Updated()

    def _organization(self, call: Call, named: str) -> str:
        """Administrators of the server belong to `default` and may name any organization."""
        own = call.principal.organization
        if named in ("", own):
            return own
        is_theirs = call.principal.may("apikeys", "*", space(named))
        if own != organizations.DEFAULT or not is_theirs:
            raise PermissionDenied("keys of another organization are made by administrators of the server")
        return organizations.tenant_of(self._store, named).name

    def _of(self, organization: str) -> Sequence[ApiKey]:
        every = self._store.list(ApiKey, SYSTEM)
        return [key for key in every if key.organization == organization and not self._is_old(key)]

    def _is_old(self, key: ApiKey) -> bool:
        end = key.revoked_at or key.expires_at
        return end is not None and end < self._clock.now() - KEPT

    def _key(self, organization: str, ask: api.CreateApiKeyRequest, *, prefix: str, hashed: str) -> ApiKey:
        now = self._clock.now()
        lifetime = timedelta(seconds=ask.expires_in_seconds)
        return ApiKey(
            prefix=prefix,
            name=ask.name,
            organization=organization,
            permissions=sorted(set(ask.permissions)),
            agent_id=ask.agent_id,
            created_at=now,
            expires_at=now + lifetime if lifetime else None,
            hash=hashed,
        )


def _shown(key: ApiKey) -> api.ApiKeyShown:
    return api.ApiKeyShown(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        permissions=key.permissions,
        agent_id=key.agent_id or None,
        organization=key.organization,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
