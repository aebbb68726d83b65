"""Handlers of organizations, and what an organization may ask."""

from __future__ import annotations

import secrets
from typing import Final

from msgspec.structs import replace

from rune.api import Rate
from rune.api.security import organizations as api
from rune.api.security.organizations import OrganizationLimits
from rune.api.security.words import Updated
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change
from rune.core.dispatch import Dispatcher
from rune.core.limits import Quota
from rune.core.settle import settle
from rune.core.store.base import Put, Store, Write
from rune.core.tokens import SYSTEM
from rune.errors import AlreadyExists, NotFound, ResourceExhausted
from rune.security.kinds import Registration, Signer, Tenant, space
from rune.security.pages import Cursors

DEFAULT: Final = "default"
MOST: Final = 1_000
_FIELDS: Final = {
    Rate.READ: ("reads_per_minute", 60),
    Rate.WRITE: ("writes_per_minute", 60),
    Rate.EVENTS: ("events_per_second", 1),
    Rate.SDK: ("sdk_per_minute", 60),
}


async def seed(store: Store, clock: Clock) -> None:
    """Make sure of the organization `default` and of the key that cursors are signed with."""

    def decide() -> list[Write]:
        writes: list[Write] = []
        if store.find(Tenant, SYSTEM, DEFAULT) is None:
            writes.append(Put(_tenant(DEFAULT, clock)))
        if store.find(Signer, SYSTEM, Signer.KIND) is None:
            writes.append(Put(Signer(secret=secrets.token_hex(32))))
        return writes

    await settle(store, decide, operation="seed_organizations")


def cursors(store: Store) -> Cursors:
    """The signer of this server's cursors; `seed` must have run."""
    return Cursors(store.get(Signer, SYSTEM, Signer.KIND).secret)


def quota(store: Store, organization: str, rate: str) -> Quota | None:
    """What the organization may ask by its own limits, None where it has none."""
    tenant = store.find(Tenant, SYSTEM, organization)
    name, seconds = _FIELDS.get(Rate(rate), ("", 0))
    count: int = getattr(tenant.limits, name) if tenant and name else 0
    return Quota(count=count, seconds=seconds) if count else None


def exists(store: Store, name: str) -> bool:
    """There is an organization of that name."""
    return store.find(Tenant, SYSTEM, name) is not None


def tenant_of(store: Store, name: str) -> Tenant:
    """The organization; raises NotFound."""
    found = store.find(Tenant, SYSTEM, name or DEFAULT)
    if found is None:
        raise NotFound(f"there is no organization {name!r}")
    return found


def _tenant(name: str, clock: Clock, **fields: str) -> Tenant:
    return Tenant(name=name, salt=secrets.token_hex(32), created_at=clock.now(), **fields)  # pyright: ignore[reportArgumentType] - texts alone


class Organizations:
    """What can be done with organizations."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.create)(self.create)
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.update)(self.update)

    async def create(self, call: Call, ask: api.CreateOrganizationRequest) -> api.CreateOrganizationResponse:
        """A new tenant, with a salt of its own."""
        if self._store.find(Tenant, SYSTEM, ask.name) is not None:
            raise AlreadyExists(f"organization {ask.name!r} exists already")
        if len(self._store.list(Tenant, SYSTEM)) >= MOST:
            raise ResourceExhausted(f"there are {MOST} organizations, the most there may be")
        made = replace(_tenant(ask.name, self._clock, display_name=ask.display_name), limits=ask.limits)
        await self._store.commit(Put(made), operation=call.operation.name)
        return api.CreateOrganizationResponse(name=ask.name)

    async def list(self, call: Call, ask: api.ListOrganizationsRequest) -> api.ListOrganizationsResponse:
        """All of them: only administrators get here."""
        found, cursor = cursors(self._store).page(
            call,
            self._store.list(Tenant, SYSTEM),
            lambda tenant: tenant.name,
            limit=ask.limit,
            cursor=ask.cursor,
        )
        return api.ListOrganizationsResponse(organizations=list(map(self._shown, found)), next_cursor=cursor)

    async def update(self, call: Call, ask: api.UpdateOrganizationRequest) -> Updated:
        """Change what is given."""

        def decide(found: Tenant) -> list[Write]:
            name = found.display_name if ask.display_name is None else ask.display_name
            limits: OrganizationLimits = ask.limits or found.limits
            changed = replace(found, display_name=name, limits=limits)
            return [] if changed == found else [Put(changed)]

        await change(
            self._store, lambda: tenant_of(self._store, ask.name), decide, operation=call.operation.name
        )
        return Updated()

    def _shown(self, tenant: Tenant) -> api.Organization:
        return api.Organization(
            name=tenant.name,
            display_name=tenant.display_name,
            limits=tenant.limits,
            created_at=tenant.created_at,
            agents=len(self._store.list(Registration, space(tenant.name))),
        )
