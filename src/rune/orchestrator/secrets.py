"""Handlers of secrets: written by everybody who may, shown by RevealSecret alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rune.api.common import OK, Status
from rune.api.orchestrator import secrets as api
from rune.api.orchestrator.secrets import Secret
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change
from rune.core.dispatch import Dispatcher
from rune.core.runefile import SecretLimits
from rune.core.store.base import Store, Write
from rune.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Violation
from rune.orchestrator import listing
from rune.orchestrator.namespaces import create_in
from rune.orchestrator.safe import KeptSecret, Safe, SecretVersion
from rune.orchestrator.uses import SECRET, Use, used_by

LISTED: Final = listing.Listed(
    kind=KeptSecret,
    fields={"name": lambda item: item.name, "namespace": lambda item: item.namespace},
)

Revise = Callable[[Mapping[str, str]], Mapping[str, str]]
"""What the values of a secret become."""
UsedBy = Callable[[Store, Use], Sequence[str]]
"""Who else uses a secret, in words."""


class Secrets:
    """What can be done with secrets."""

    def __init__(
        self,
        safe: Safe,
        *,
        clock: Clock,
        limits: SecretLimits | None = None,
        used_by: Sequence[UsedBy] = (used_by,),
    ) -> None:
        self._safe = safe
        self._store = safe.store
        self._clock = clock
        self._limits = limits or SecretLimits()
        self._used_by = used_by

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.create, self.create),
            (api.get, self.get),
            (api.list_, self.list),
            (api.update, self.update),
            (api.patch, self.patch),
            (api.delete, self.delete),
            (api.reveal, self.reveal),
            (api.list_versions, self.list_versions),
            (api.reveal_version, self.reveal_version),
            (api.rollback, self.rollback),
        ):
            dispatcher.handles(operation)(handler)

    async def create(self, call: Call, ask: api.CreateSecretRequest) -> api.SecretResponse:
        """Seal it as version 1."""
        given = ask.secret
        self._refuse(self._wrong(given))
        if self._safe.find(given.namespace, given.name) is not None:
            raise AlreadyExists(f"secret {given.namespace}/{given.name} exists: update it instead")
        async with self._safe.vault.writing():
            await create_in(
                self._store,
                given.namespace,
                self._safe.first(given.namespace, given.name, given.data, now=self._clock.now()),
                ensure=ask.ensure_namespace,
                clock=self._clock,
                operation=call.operation.permission,
            )
        return self._answer(given.namespace, given.name)

    async def get(self, call: Call, ask: api.GetSecretRequest) -> api.SecretResponse:
        """One secret, without its values."""
        return self._answer(ask.namespace, ask.name)

    async def list(self, call: Call, ask: api.ListSecretsRequest) -> api.ListSecretsResponse:
        """The secrets that match, without their values."""
        revision = self._store.revision
        chosen, paging = listing.listed(self._store, call, ask, kind=LISTED)
        shown = [shown_of(item) for item in chosen]
        return api.ListSecretsResponse(secrets=shown, status=OK, paging=paging, revision=revision)

    async def update(self, call: Call, ask: api.UpdateSecretRequest) -> api.SecretResponse:
        """Replace the values; the same values again change nothing."""
        given = ask.secret
        self._refuse(self._wrong(given))
        ref = (given.namespace, given.name)
        return await self._revise(call, ref, lambda _: given.data, revision=given.revision)

    async def patch(self, call: Call, ask: api.PatchSecretRequest) -> api.SecretResponse:
        """Set some keys and remove others; a key that is not there is removed already."""
        both = sorted(ask.set.keys() & set(ask.unset))
        self._refuse(Violation(f"unset[{key}]", "is in `set` as well: it can only be one") for key in both)

        def revised(values: Mapping[str, str]) -> Mapping[str, str]:
            kept = {key: value for key, value in values.items() if key not in ask.unset}
            data = {**kept, **ask.set}
            self._refuse(self._too_large(data, "set"))
            return data

        return await self._revise(call, (ask.namespace, ask.name), revised)

    async def delete(self, call: Call, ask: api.DeleteSecretRequest) -> Status:
        """Remove it with its versions, unless something uses it."""
        found = self._safe.get(ask.namespace, ask.name)
        use = Use(SECRET, ask.namespace, ask.name)
        users = [user for asked in self._used_by for user in asked(self._store, use)]
        if users:
            raise FailedPrecondition(f"cannot delete {use}; in use by: {', '.join(users)}")
        await self._store.commit(*self._safe.gone(found), operation=call.operation.permission)
        return OK

    async def reveal(self, call: Call, ask: api.RevealSecretRequest) -> api.SecretResponse:
        """The values of the newest version."""
        found = self._safe.get(ask.namespace, ask.name)
        return api.SecretResponse(secret=shown_of(found, self._safe.values(found)), status=OK)

    async def list_versions(
        self, call: Call, ask: api.ListSecretVersionsRequest
    ) -> api.ListSecretVersionsResponse:
        """The kept versions, newest first, without their values."""
        found = self._safe.get(ask.namespace, ask.name)
        kept = [_version_of(found, item) for item in reversed(self._safe.versions(found))]
        return api.ListSecretVersionsResponse(versions=kept, status=OK)

    async def reveal_version(self, call: Call, ask: api.RevealSecretVersionRequest) -> api.SecretResponse:
        """The values of one version; 0 is the newest."""
        found = self._safe.get(ask.namespace, ask.name)
        version = self._version(found, ask.version or found.version)
        shown = _version_of(found, version, self._safe.open(version))
        return api.SecretResponse(secret=shown, status=OK)

    async def rollback(self, call: Call, ask: api.RollbackSecretRequest) -> api.SecretResponse:
        """A new version with the values of an earlier one."""
        ref = (ask.namespace, ask.name)

        def earlier(_: Mapping[str, str]) -> Mapping[str, str]:
            found = self._safe.get(*ref)
            return self._safe.open(self._version(found, ask.to_version or self._before(found)))

        return await self._revise(call, ref, earlier)

    def _before(self, found: KeptSecret) -> int:
        kept = self._safe.versions(found)
        if len(kept) == 1:
            raise FailedPrecondition(
                f"secret {found.namespace}/{found.name} has no version before {found.version}"
            )
        return kept[-2].version

    def _version(self, found: KeptSecret, number: int) -> SecretVersion:
        kept = self._safe.versions(found)
        for item in kept:
            if item.version == number:
                return item
        raise NotFound(
            f"version {number} of secret {found.namespace}/{found.name} is not kept:"
            f" {kept[0].version} to {found.version} are"
        )

    async def _revise(
        self, call: Call, ref: tuple[str, str], revise: Revise, *, revision: int = 0
    ) -> api.SecretResponse:
        def decide(found: KeptSecret) -> Sequence[Write]:
            before = self._safe.values(found)
            data = dict(revise(before))
            return [] if data == before else self._safe.next(found, data, now=self._clock.now())

        async with self._safe.vault.writing():
            changed = await change(
                self._store,
                lambda: self._safe.get(*ref),
                decide,
                revision=revision,
                operation=call.operation.permission,
            )
        return api.SecretResponse(secret=shown_of(changed), status=OK)

    def _answer(self, namespace: str, name: str) -> api.SecretResponse:
        return api.SecretResponse(secret=shown_of(self._safe.get(namespace, name)), status=OK)

    def _wrong(self, given: Secret) -> Iterator[Violation]:
        if given.type not in ("", "static"):
            yield Violation("secret.type", "only `static` is known")
        yield from self._too_large(given.data, "secret.data")

    def _too_large(self, data: Mapping[str, str], field: str) -> Iterator[Violation]:
        most_keys, most_bytes = self._limits.max_keys_per_secret, self._limits.max_value_size
        if len(data) > most_keys:
            yield Violation(field, f"has {len(data)} keys; {most_keys} are the most")
        for key, value in data.items():
            size = len(value.encode())
            if size > most_bytes:
                yield Violation(f"{field}.{key}", f"has {size} bytes; {most_bytes} are the most")

    def _refuse(self, violations: Iterable[Violation]) -> None:
        found = list(violations)
        if found:
            raise InvalidArgument.of(found)


def shown_of(secret: KeptSecret, values: Mapping[str, str] | None = None) -> Secret:
    """The secret as callers see it; with values only where they were asked to be revealed."""
    return Secret(
        name=secret.name,
        namespace=secret.namespace,
        type=secret.type,
        data=dict(values or {}),
        version=secret.version,
        created_at=secret.created_at,
        updated_at=secret.updated_at,
        data_keys=secret.keys,
        revision=secret.revision,
    )


def _version_of(
    secret: KeptSecret, version: SecretVersion, values: Mapping[str, str] | None = None
) -> Secret:
    return Secret(
        name=secret.name,
        namespace=secret.namespace,
        type=secret.type,
        data=dict(values or {}),
        version=version.version,
        created_at=secret.created_at,
        updated_at=version.created_at,
        data_keys=version.keys,
    )
