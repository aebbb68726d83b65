"""Handlers of policies: compiled first, stored with every version, in force at the next bundle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rune.api.security import policies as api
from rune.api.security.words import Deleted, Updated
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change
from rune.core.dispatch import Dispatcher
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.errors import Conflict, InvalidArgument, NotFound, ResourceExhausted, Violation
from rune.policy import compile as compiling
from rune.policy.document import parse
from rune.security import following
from rune.security.kinds import Policy, PolicyText, space
from rune.security.pages import Cursors, newest_first, oldest_first

MOST: Final = 500
"""Policies of an organization."""
MOST_VERSIONS: Final = 1_000
"""Versions kept of a policy; past it the oldest goes."""


class Policies:
    """What can be done with policies."""

    def __init__(self, store: Store, cursors: Cursors, *, clock: Clock) -> None:
        self._store = store
        self._cursors = cursors
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.list_, self.list),
            (api.watch, self.watch),
            (api.create, self.create),
            (api.get, self.get),
            (api.update, self.update),
            (api.toggle, self.toggle),
            (api.delete, self.delete),
            (api.validate, self.validate),
            (api.list_versions, self.list_versions),
            (api.rollback, self.rollback),
        ):
            dispatcher.handles(operation)(handler)

    async def list(self, call: Call, ask: api.ListPoliciesRequest) -> api.ListPoliciesResponse:
        """The active ones, or all."""
        every = self._store.list(Policy, space(call.principal.organization))
        found, cursor = self._cursors.page(
            call,
            (policy for policy in every if policy.active or ask.include_inactive),
            lambda policy: oldest_first(policy.created_at, policy.id),
            limit=ask.limit,
            cursor=ask.cursor,
        )
        return api.ListPoliciesResponse(policies=list(map(_row, found)), next_cursor=cursor)

    async def watch(
        self, call: Call, ask: api.WatchPoliciesRequest
    ) -> AsyncIterator[api.WatchPoliciesResponse]:
        """The active ones, or all, and what becomes of them."""
        organization = call.principal.organization
        admits = following.owned(Policy, organization, lambda policy: policy.active or ask.include_inactive)
        rows = partial(self._store.list, Policy, space(organization))
        async for each in following.items(self._store, ask.resume, admits, rows=rows):
            yield api.WatchPoliciesResponse(
                policy=each.resource and _row(each.resource),
                event_type=each.event_type,
                revision=each.revision,
            )

    async def create(
        self, call: Call, ask: api.CreateSecurityPolicyRequest
    ) -> api.CreateSecurityPolicyResponse:
        """A policy that compiles, as version 1, active."""
        compiled = await compiled_from(ask.yaml_content)
        organization, now = call.principal.organization, self._clock.now()
        policy = Policy(
            organization=organization,
            id=f"pol_{self._clock.new_id().replace('-', '')}",
            name=ask.name,
            yaml=ask.yaml_content,
            compiled=compiled,
            created_at=now,
            updated_at=now,
        )

        def decide() -> list[Write]:
            if len(self._store.list(Policy, space(organization))) >= MOST:
                raise ResourceExhausted(f"there are {MOST} policies, the most there may be")
            return [Put(policy), Put(self._text(policy, call))]

        await settle(self._store, decide, operation=call.operation.name)
        return api.CreateSecurityPolicyResponse(id=policy.id, name=policy.name)

    async def get(self, call: Call, ask: api.GetSecurityPolicyRequest) -> api.GetSecurityPolicyResponse:
        """One policy whole."""
        found = self._get(call, ask.policy_id)
        return api.GetSecurityPolicyResponse(
            id=found.id,
            name=found.name,
            version=found.version,
            active=found.active,
            yaml_content=found.yaml,
            compiled=found.compiled,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )

    async def update(self, call: Call, ask: api.UpdateSecurityPolicyRequest) -> Updated:
        """Another name, or other YAML as the next version; the same YAML again changes nothing."""
        if ask.name is None and ask.yaml_content is None:
            raise InvalidArgument("nothing to change: give name or yamlContent")
        self._get(call, ask.policy_id)
        compiled = None if ask.yaml_content is None else await compiled_from(ask.yaml_content)

        def decide(found: Policy) -> list[Write]:
            if ask.version not in (None, found.version):
                raise _changed_since(found, ask.version)
            after = replace(found, name=ask.name or found.name)
            if ask.yaml_content is not None and compiled is not None and ask.yaml_content != found.yaml:
                return self._next(after, call, yaml=ask.yaml_content, compiled=compiled)
            return [] if after == found else [Put(replace(after, updated_at=self._clock.now()))]

        await self._change(call, ask.policy_id, decide)
        return Updated()

    async def toggle(self, call: Call, ask: api.TogglePolicyRequest) -> Updated:
        """In force or not; the version stays."""

        def decide(found: Policy) -> list[Write]:
            after = replace(found, active=ask.active, updated_at=self._clock.now())
            return [] if found.active is ask.active else [Put(after)]

        await self._change(call, ask.policy_id, decide)
        return Updated()

    async def delete(self, call: Call, ask: api.DeletePolicyRequest) -> Deleted:
        """Gone with all its versions."""

        def decide(found: Policy) -> list[Write]:
            return [Delete(found.key, found.revision), *(Delete(text.key) for text in self._texts(found))]

        found = self._get(call, ask.policy_id)
        await settle(
            self._store,
            lambda: decide(self._get(call, found.id)),
            operation=call.operation.name,
        )
        return Deleted()

    async def validate(self, call: Call, ask: api.ValidatePolicyRequest) -> api.ValidatePolicyResponse:
        """What the text means, or what is wrong with it; nothing is stored."""
        try:
            compiled = await compiled_from(ask.yaml_content)
        except InvalidArgument as error:
            return api.ValidatePolicyResponse(valid=False, error=error.message)
        return api.ValidatePolicyResponse(valid=True, compiled=compiled)

    async def list_versions(
        self, call: Call, ask: api.ListPolicyVersionsRequest
    ) -> api.ListPolicyVersionsResponse:
        """The versions, newest first."""
        found, cursor = self._cursors.page(
            call,
            self._texts(self._get(call, ask.policy_id)),
            lambda text: newest_first(None, f"{10**9 - text.version:010d}"),
            limit=ask.limit,
            cursor=ask.cursor,
        )
        rows = [
            api.PolicyVersion(
                version=text.version,
                yaml_content=text.yaml,
                created_at=text.created_at,
                created_by=text.created_by,
            )
            for text in found
        ]
        return api.ListPolicyVersionsResponse(versions=rows, next_cursor=cursor)

    async def rollback(self, call: Call, ask: api.RollbackPolicyRequest) -> api.RollbackPolicyResponse:
        """The text of an earlier version as the next version."""
        policy = self._get(call, ask.policy_id)
        name = _version_id(policy.id, ask.version)
        text = self._store.find(PolicyText, space(policy.organization), name)
        if text is None:
            raise NotFound(f"policy {policy.id!r} has no version {ask.version}")
        compiled = await compiled_from(text.yaml)

        def decide(found: Policy) -> list[Write]:
            return self._next(found, call, yaml=text.yaml, compiled=compiled)

        found = await self._change(call, policy.id, decide)
        return api.RollbackPolicyResponse(version=found.version)

    def _next(self, policy: Policy, call: Call, *, yaml: str, compiled: dict[str, Any]) -> list[Write]:
        """The next version, and the oldest one gone where there are too many."""
        after = replace(
            policy,
            version=policy.version + 1,
            yaml=yaml,
            compiled=compiled,
            updated_at=self._clock.now(),
        )
        old = self._texts(policy)[: -MOST_VERSIONS + 1] if after.version > MOST_VERSIONS else ()
        return [Put(after), Put(self._text(after, call)), *(Delete(text.key) for text in old)]

    def _text(self, policy: Policy, call: Call) -> PolicyText:
        return PolicyText(
            organization=policy.organization,
            id=_version_id(policy.id, policy.version),
            version=policy.version,
            yaml=policy.yaml,
            created_at=policy.updated_at,
            created_by=call.principal.name,
        )

    def _texts(self, policy: Policy) -> Sequence[PolicyText]:
        return self._store.near(PolicyText, space(policy.organization), f"{policy.id}.")

    async def _change(
        self, call: Call, policy_id: str, decide: Callable[[Policy], Sequence[Write]]
    ) -> Policy:
        return await change(
            self._store, lambda: self._get(call, policy_id), decide, operation=call.operation.name
        )

    def _get(self, call: Call, policy_id: str) -> Policy:
        found = self._store.find(Policy, space(call.principal.organization), policy_id)
        if found is None:
            raise NotFound(f"there is no policy {policy_id!r}")
        return found


def _changed_since(found: Policy, version: int | None) -> Conflict:
    return Conflict(
        f"policy {found.name!r} has version {found.version} by now, and this changes version {version}: "
        "read it again, then repeat the change"
    )


def _row(policy: Policy) -> api.SecurityPolicy:
    return api.SecurityPolicy(
        id=policy.id,
        name=policy.name,
        version=policy.version,
        active=policy.active,
        updated_at=policy.updated_at,
    )


def _version_id(policy_id: str, version: int) -> str:
    return f"{policy_id}.{version:010d}"


async def compiled_from(yaml: str) -> dict[str, Any]:
    """The compiled form; raises InvalidArgument with line and column of everything that is wrong."""
    return await asyncio.to_thread(_compiled, yaml)  # a long text takes a while, and others are served


def _compiled(yaml: str) -> dict[str, Any]:
    try:
        compiled = compiling.compile(parse(yaml))
    except InvalidArgument as error:
        details = [
            Violation(f"yamlContent.{each.field}".rstrip("."), each.description) for each in error.details
        ]
        raise InvalidArgument(error.message, details=details) from error
    return msgspec.json.decode(compiled.to_json(), type=dict[str, Any])
