"""Handlers of registries, and the look-up by which runners get credentials for an image.

There are two sorts: those of the Runefile, which only the Runefile changes, and those added here, whose
passwords and tokens are sealed and never shown.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from rune.api.common import EventType
from rune.api.fields import LABEL
from rune.api.orchestrator import following
from rune.api.orchestrator import registries as api
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig, RegistryRuntimeStatus
from rune.core import runefile
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Delete, Put, Store
from rune.core.vault import Place, SealedResource
from rune.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    RuneError,
    Violation,
)
from rune.orchestrator import listing
from rune.orchestrator.ecr import Ecr
from rune.orchestrator.logins import TYPES, Login, Logins, from_files
from rune.orchestrator.namespaces import create_in
from rune.orchestrator.runners.base import Credentials
from rune.orchestrator.runners.docker.registries import host_of, matches
from rune.orchestrator.safe import Safe
from rune.orchestrator.uses import SECRET, Use

MOST: Final = 256
"""Registries of one server."""
HOME: Final = "system"
"""Where a secret is that is named without a namespace."""
HIDDEN: Final = ("password", "token", "data")
"""The fields of a log-in that are sealed."""


class _Hidden(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sealed of a log-in."""

    password: str = ""
    token: str = ""
    data: dict[str, str] = {}

    def __repr__(self) -> str:
        return "***"


class KeptRegistry(SealedResource):
    """A registry as it is stored."""

    KIND: ClassVar[str] = "registry"

    name: str
    registry: str
    auth: RegistryAuthConfig
    """Without what is sealed."""
    version: int = 1

    @property
    def place(self) -> Place:
        """Its name, and how often it was changed."""
        return Place("registry", "", self.name, self.version)


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A registry of either sort."""

    name: str
    pattern: str
    auth: RegistryAuthConfig
    kept: KeptRegistry | None = None
    configured: runefile.Registry | None = None

    @property
    def type(self) -> str:
        return self.auth.type or "basic"

    @property
    def shown(self) -> RegistryConfig:
        return RegistryConfig(name=self.name, registry=self.pattern, auth=self.auth)


class Registries:
    """What can be done with registries."""

    def __init__(
        self,
        safe: Safe,
        configured: Sequence[runefile.Registry],
        environ: Mapping[str, str],
        *,
        clock: Clock,
    ) -> None:
        self._safe = safe
        self._store = safe.store
        self._clock = clock
        self._configured = tuple(configured)
        self._logins = Logins(Ecr(environ, clock=clock), environ)
        self._errors: dict[str, str] = {}
        self._made_at: dict[str, datetime] = {}

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.list_registries, self.list),
            (following.watch_registries, self.watch),
            (api.get_registry, self.get),
            (api.add_registry, self.add),
            (api.update_registry, self.update),
            (api.remove_registry, self.remove),
            (api.bootstrap_registries, self.bootstrap),
            (api.test_registry, self.test),
            (api.registries_status, self.status),
        ):
            dispatcher.handles(operation)(handler)

    def configure(self, configured: Sequence[runefile.Registry]) -> None:
        """The registries of the Runefile are these from now on."""
        self._configured = tuple(configured)

    async def credentials(self, image: str) -> Credentials | None:
        """What the registry of an image wants to see; None for nothing. Exact hosts win over patterns.

        Raises FailedPrecondition when they are incomplete, Unavailable when they cannot be fetched.
        """
        fitting = [entry for entry in self._entries() if matches(entry.pattern, image)]
        if not fitting:
            return None
        entry = max(fitting, key=lambda each: ("*" not in each.pattern, len(each.pattern)))
        try:
            found = await self._logins.credentials(self._login(entry), image)
        except RuneError as error:
            self._errors[entry.name] = error.message
            raise
        self._errors.pop(entry.name, None)
        return found

    def users_of(self, store: Store, use: Use) -> list[str]:
        """The registries that log in with a secret."""
        return [f"registry {entry.name}" for entry in self._entries() if use == _secret(entry.auth)]

    async def list(self, call: Call, ask: api.ListRegistriesRequest) -> api.ListRegistriesResponse:
        """By name, without credentials."""
        revision = self._store.revision
        entries = sorted(self._entries(), key=lambda entry: entry.name)
        return api.ListRegistriesResponse(registries=[entry.shown for entry in entries], revision=revision)

    async def watch(
        self, call: Call, ask: following.WatchRegistriesRequest
    ) -> AsyncIterator[following.WatchRegistriesResponse]:
        """Those of the Runefile at the start as well, unless the watch goes on from somewhere."""
        for entry in map(_configured, () if ask.resume else self._configured):
            yield following.WatchRegistriesResponse(registry=entry.shown, event_type=EventType.ADDED)
        async for seen in listing.everything(self._store, ask.resume, kind=KeptRegistry):
            kept = seen.resource
            yield following.WatchRegistriesResponse(
                registry=RegistryConfig(name=kept.name, registry=kept.registry, auth=kept.auth),
                event_type=seen.event_type,
                revision=seen.revision,
            )

    async def get(self, call: Call, ask: api.GetRegistryRequest) -> api.GetRegistryResponse:
        """One, without credentials."""
        return api.GetRegistryResponse(registry=self._entry(ask.name).shown)

    async def add(self, call: Call, ask: api.AddRegistryRequest) -> api.AddRegistryResponse:
        """Seal the credentials of a new one."""
        given = ask.registry
        _refuse(given)
        if any(entry.name == given.name for entry in self._entries()):
            raise AlreadyExists(f"registry {given.name} exists: update it instead")
        if len(self._store.list(KeptRegistry)) >= MOST:
            raise FailedPrecondition(f"there are {MOST} registries, which are the most: remove one first")
        async with self._safe.vault.writing():
            made = self._sealed(given, version=1)
            await self._store.commit(Put(made), operation=call.operation.permission)
        return api.AddRegistryResponse(registry=self._entry(given.name).shown)

    async def update(self, call: Call, ask: api.UpdateRegistryRequest) -> api.UpdateRegistryResponse:
        """Replace it; credentials that were left out stay."""
        given = ask.registry
        _refuse(given)
        self._changeable(given.name)

        def decide(found: KeptRegistry) -> Sequence[Put]:
            whole = self._completed(given, found)
            sealed = self._sealed(whole, version=found.version + 1)
            return [Put(msgspec.structs.replace(sealed, revision=found.revision))]

        async with self._safe.vault.writing():
            await change(
                self._store,
                lambda: self._changeable(given.name),
                decide,
                operation=call.operation.permission,
            )
        self._errors.pop(given.name, None)
        return api.UpdateRegistryResponse(registry=self._entry(given.name).shown)

    async def remove(self, call: Call, ask: api.RemoveRegistryRequest) -> api.RemoveRegistryResponse:
        """Forget it with its credentials."""
        found = self._changeable(ask.name)
        await self._store.commit(Delete(found.key, found.revision), operation=call.operation.permission)
        self._errors.pop(ask.name, None)
        self._made_at.pop(ask.name, None)
        return api.RemoveRegistryResponse(deleted=True)

    async def bootstrap(self, call: Call, ask: api.BootstrapAuthRequest) -> api.BootstrapAuthResponse:
        """Make or update the secrets of those that say so."""
        if not (ask.name or ask.type or ask.all):
            raise InvalidArgument.of([Violation("name", "is required, unless `type` or `all` is given")])
        entries = [self._entry(ask.name)] if ask.name else self._entries()
        updated = 0
        for entry in entries:
            if (not ask.type or entry.type == ask.type) and entry.auth.bootstrap and entry.kept:
                updated += await self._write_secret(entry.kept, f"{call.operation.permission}.one")
                self._made_at[entry.name] = self._clock.now()
        return api.BootstrapAuthResponse(updated=updated)

    async def test(self, call: Call, ask: api.TestRegistryRequest) -> api.TestRegistryResponse:
        """Log in for real; what goes wrong is the answer, not a failure of the call."""
        from rune.orchestrator.knock import knock  # noqa: PLC0415 - loads a large library, and is rare

        entry = self._entry(ask.name)
        image = ask.image_ref
        if "*" in entry.pattern and not image:
            what = f"is required: {entry.pattern} is many registries"
            raise InvalidArgument.of([Violation("image_ref", what)])
        if image and not matches(entry.pattern, image):
            what = f"is an image of {host_of(image)}, not of {entry.pattern}"
            raise InvalidArgument.of([Violation("image_ref", what)])
        host = host_of(image or f"{entry.pattern}/x")
        try:
            found = await self._logins.credentials(self._login(entry), image or f"{host}/x")
            said = await knock(host, image, found)
        except RuneError as error:
            self._errors[entry.name] = error.message
            return api.TestRegistryResponse(ok=False, message=error.message)
        self._errors.pop(entry.name, None)
        return api.TestRegistryResponse(ok=True, message=said)

    async def status(self, call: Call, ask: api.RegistriesStatusRequest) -> api.RegistriesStatusResponse:
        """How the last log-ins went, since this server started."""
        shown = [
            RegistryRuntimeStatus(
                name=entry.name,
                registry=entry.pattern,
                type=entry.type,
                auth_configured=self._is_configured(entry),
                last_bootstrap_at=self._made_at.get(entry.name),
                last_error=self._errors.get(entry.name, ""),
            )
            for entry in sorted(self._entries(), key=lambda entry: entry.name)
        ]
        return api.RegistriesStatusResponse(registries=shown)

    def _entries(self) -> list[_Entry]:
        added = [
            _Entry(name=each.name, pattern=each.registry, auth=each.auth, kept=each)
            for each in self._store.list(KeptRegistry)
        ]
        return [*map(_configured, self._configured), *added]

    def _entry(self, name: str) -> _Entry:
        for entry in self._entries():
            if entry.name == name:
                return entry
        raise NotFound(f"registry not found: {name}")

    def _changeable(self, name: str) -> KeptRegistry:
        entry = self._entry(name)
        if entry.kept is None:
            raise FailedPrecondition(f"registry {name} is in the Runefile: change it there")
        return entry.kept

    def _is_configured(self, entry: _Entry) -> bool:
        try:
            return bool(self._login(entry).values) or entry.type == "ecr"
        except RuneError:
            return False

    def _login(self, entry: _Entry) -> Login:
        """The log-in with its values, from wherever they are."""
        auth = entry.auth
        use = _secret(auth)
        if use is not None:
            values = self._safe.values(self._safe.get(use.namespace, use.name))
        elif entry.configured is not None:
            values = from_files(entry.configured)
        else:
            values = self._own(entry.kept) if entry.kept else {}
        return Login(registry=entry.name, type=entry.type, region=auth.region, values=values)

    def _own(self, kept: KeptRegistry) -> dict[str, str]:
        hidden = self._hidden(kept)
        own = {"username": kept.auth.username, "password": hidden.password, "token": hidden.token}
        return {**hidden.data, **{key: value for key, value in own.items() if value}}

    def _hidden(self, kept: KeptRegistry) -> _Hidden:
        return msgspec.json.decode(self._safe.vault.open(kept.sealed, kept.place), type=_Hidden)

    def _sealed(self, given: RegistryConfig, *, version: int) -> KeptRegistry:
        auth = given.auth or RegistryAuthConfig()
        hidden = _Hidden(password=auth.password, token=auth.token, data=auth.data)
        place = Place("registry", "", given.name, version)
        return KeptRegistry(
            name=given.name,
            registry=given.registry,
            auth=msgspec.structs.replace(auth, password="", token="", data={}),
            version=version,
            sealed=self._safe.vault.seal(msgspec.json.encode(hidden), place),
        )

    def _completed(self, given: RegistryConfig, found: KeptRegistry) -> RegistryConfig:
        """With the credentials that were left out; they never follow to another host."""
        auth = given.auth or found.auth
        if any(getattr(auth, field) for field in HIDDEN):
            return given
        hidden = self._hidden(found)
        had = any(getattr(hidden, field) for field in HIDDEN)
        moved = (given.registry, auth.type or "basic") != (found.registry, found.auth.type or "basic")
        if had and moved and not auth.from_secret:
            what = "give the credentials again: those that are kept are for another host or type"
            raise InvalidArgument.of([Violation("registry.auth", what)])
        kept = {} if moved else {field: getattr(hidden, field) for field in HIDDEN}
        return msgspec.structs.replace(given, auth=msgspec.structs.replace(auth, **kept))

    async def _write_secret(self, kept: KeptRegistry, operation: str) -> bool:
        """Whether the secret was made or changed."""
        use, data = _secret(kept.auth), self._hidden(kept).data
        if use is None or not data:
            raise FailedPrecondition(f"registry {kept.name}: bootstrap needs `from_secret` and `data`")
        now = self._clock.now()
        async with self._safe.vault.writing():
            found = self._safe.find(use.namespace, use.name)
            if found is None:
                first = self._safe.first(use.namespace, use.name, data, now=now)
                await create_in(
                    self._store, use.namespace, first, ensure=False, clock=self._clock, operation=operation
                )
                return True
            settled = kept.auth.immutable or kept.auth.manage == "ignore"
            if settled or self._safe.values(found) == data:
                return False
            await self._store.commit(*self._safe.next(found, data, now=now), operation=operation)
            return True


def _configured(registry: runefile.Registry) -> _Entry:
    auth = RegistryAuthConfig(
        type=registry.type,
        username=registry.username,
        region=registry.region,
        from_secret=registry.from_secret,
    )
    return _Entry(name=registry.name, pattern=registry.server, auth=auth, configured=registry)


def _secret(auth: RegistryAuthConfig) -> Use | None:
    if not auth.from_secret:
        return None
    namespace, slash, name = auth.from_secret.rpartition("/")
    return Use(SECRET, namespace if slash else HOME, name)


def _refuse(given: RegistryConfig) -> None:
    found: list[Violation] = []
    auth = given.auth or RegistryAuthConfig()
    if not re.fullmatch(LABEL, given.name):
        found.append(Violation("registry.name", "is required, and must be a DNS label"))
    host = given.registry.removeprefix("*.")
    if not re.fullmatch(
        r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?", host
    ):
        found.append(Violation("registry.registry", "must be a host such as registry.example.com:5000"))
    if auth.type not in ("", *TYPES):
        found.append(Violation("registry.auth.type", f"is one of {', '.join(TYPES)}"))
    if auth.manage not in ("", "ignore", "update"):
        found.append(Violation("registry.auth.manage", "is `ignore` or `update`"))
    parts = auth.from_secret.split("/")
    if auth.from_secret and not (len(parts) <= 2 and all(re.fullmatch(LABEL, part) for part in parts)):  # noqa: PLR2004 - namespace, name
        found.append(Violation("registry.auth.from_secret", "is NAME or NAMESPACE/NAME"))
    if found:
        raise InvalidArgument.of(found)
