"""Handlers of bundles: what is in force for an organization, given out at once or at its next change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final

import msgspec

from rune.api.security import sdk as api
from rune.api.security.sdk import Bundle, BundleFalsePositive, BundlePolicy
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Change, Store
from rune.errors import Closed, OutOfRange
from rune.security.kinds import FalsePositive, Policy, Tenant, space
from rune.security.organizations import tenant_of

KINDS: Final = frozenset({Policy.KIND, FalsePositive.KIND, Tenant.KIND})
"""What a bundle is made of."""


class Bundles:
    """Keeps every organization's bundle until it changes; `run` has to run meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Bundle] = {}
        self._changed = asyncio.Event()
        self._released = False

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.bundle)(self.get)
        dispatcher.handles(api.stream)(self.stream)

    async def get(self, call: Call, ask: api.GetBundleRequest) -> Bundle:
        """The bundle; with the tag of this very one, wait for another."""
        organization = call.principal.organization
        try:
            async with asyncio.timeout(ask.wait):
                return await self._other(organization, ask.etag)
        except TimeoutError:
            return self.of(organization)

    async def stream(self, call: Call, ask: api.StreamBundlesRequest) -> AsyncIterator[Bundle]:
        """The bundle unless the caller has it, and again at every change."""
        etag = ask.etag
        while not self._released:
            bundle = await self._other(call.principal.organization, etag)
            if bundle.etag != etag:
                yield bundle
            etag = bundle.etag

    async def _other(self, organization: str, etag: str) -> Bundle:
        """A bundle that is not of this tag, as soon as there is one; the same when the server stops."""
        while True:
            changed = self._changed
            bundle = self.of(organization)
            if bundle.etag != etag or self._released:
                return bundle
            await changed.wait()

    def of(self, organization: str) -> Bundle:
        """The bundle as it is now."""
        found = self._known.get(organization)
        if found is None:
            found = self._known[organization] = self._made(organization)
        return found

    def release(self) -> None:
        """Answer all who wait: the server stops."""
        self._released = True
        self._changed.set()

    async def run(self) -> None:
        """Forget what changed and wake who waits, until cancelled or the store closes."""
        while True:
            try:
                self._forget()
                await self._follow()
            except OutOfRange:
                continue
            except Closed:
                return

    async def _follow(self) -> None:
        async for change in self._store.watch(self._store.revision):
            if _matters(change):
                self._forget()

    def _forget(self) -> None:
        self._known.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _made(self, organization: str) -> Bundle:
        where = space(organization)
        policies = [
            BundlePolicy(policy_id=each.id, version=each.version, compiled=each.compiled)
            for each in self._store.list(Policy, where)
            if each.active
        ]
        patterns = [
            BundleFalsePositive(
                threat_type=each.threat_type,
                rule=each.rule or None,
                fingerprint=each.fingerprint or None,
                pattern=each.pattern or None,
                agent_id=each.agent_id or None,
            )
            for each in self._store.list(FalsePositive, where)
        ]
        bundle = Bundle(
            version="",
            policies=policies,
            false_positives=patterns,
            salt=tenant_of(self._store, organization).salt,
        )
        tag = sha256(msgspec.json.encode(bundle)).hexdigest()[:32]
        return msgspec.structs.replace(bundle, version=tag[:12], etag=tag)


def _matters(change: Change) -> bool:
    return any(mutation.key.kind in KINDS for mutation in change.mutations)
