"""Registries: where container images come from, and how to log in there."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Int32, Message, Name, Text, Timestamp
from rune.api.operation import Effect, Http, Operation
from rune.api.orchestrator.admin import ADMIN

Credential = Annotated[str, Meta(max_length=65_536)]


class RegistryAuthConfig(Message):
    """How to log in to a registry. Passwords, tokens and `data` are written and never read back."""

    type: Text = ""
    """`basic` (also when empty), `token`, `dockerconfigjson` or `ecr`."""
    username: Text = ""
    """ecr: the id of the access key."""
    password: Credential = ""
    """ecr: the secret access key."""
    token: Credential = ""
    """ecr: the session token, where there is one."""
    region: Text = ""
    """ecr: the region, when the registry's name does not say it."""
    from_secret: Text = ""
    """Read the credentials from a secret: NAME (in namespace `system`) or NAMESPACE/NAME. Its keys are
    `username` and `password`, `token`, `.dockerconfigjson`, or `awsAccessKeyId`, `awsSecretAccessKey` and
    `awsSessionToken`."""
    bootstrap: bool = False
    """BootstrapAuth makes that secret from `data`."""
    manage: Text = ""
    """`ignore` leaves a secret alone that is there; otherwise BootstrapAuth brings it up to date."""
    immutable: bool = False
    """The same as `manage: ignore`."""
    data: dict[str, Credential] = {}
    """The same keys as in a secret: what BootstrapAuth writes, or, without `from_secret`, the credentials."""

    def __repr__(self) -> str:
        return f"RegistryAuthConfig({self.type or 'basic'}, from_secret={self.from_secret!r}, ***)"


class RegistryConfig(Message):
    """A registry of container images."""

    name: Text = ""
    """A DNS label, unique among the registries."""
    registry: Text = ""
    """The host that images name (`registry.example.com:5000`), or `*.example.com` for all below it."""
    auth: RegistryAuthConfig | None = None


class ListRegistriesRequest(Message):
    """Nothing to say."""


class ListRegistriesResponse(Message):
    """The registries."""

    registries: list[RegistryConfig] = []


class GetRegistryRequest(Message):
    """Which registry."""

    name: Name


class GetRegistryResponse(Message):
    """The registry, without its credentials."""

    registry: RegistryConfig | None = None


class AddRegistryRequest(Message):
    """The registry to add."""

    registry: RegistryConfig


class AddRegistryResponse(Message):
    """The registry, without its credentials."""

    registry: RegistryConfig | None = None


class UpdateRegistryRequest(Message):
    """The registry as it should be. Credentials that are left out stay as they are, as long as the registry's
    host and the type of log-in do.
    """

    registry: RegistryConfig


class UpdateRegistryResponse(Message):
    """The registry, without its credentials."""

    registry: RegistryConfig | None = None


class RemoveRegistryRequest(Message):
    """Which registry."""

    name: Name


class RemoveRegistryResponse(Message):
    """Whether it was removed."""

    deleted: bool = False


class BootstrapAuthRequest(Message):
    """Whose secrets to make: of one registry, of all of a type, or of all. Those without `bootstrap` are
    passed over.
    """

    name: Text = ""
    type: Text = ""
    all: bool = False


class BootstrapAuthResponse(Message):
    """How many were made."""

    updated: Int32 = 0


class TestRegistryRequest(Message):
    """Which registry to try, and with which image."""

    name: Name
    image_ref: Text = ""
    """Ask for this image's manifest as well; needed where the registry is a pattern with `*`."""


class TestRegistryResponse(Message):
    """How it went."""

    ok: bool = False
    message: str = ""


class RegistryRuntimeStatus(Message):
    """How a registry is."""

    name: str = ""
    registry: str = ""
    type: str = ""
    auth_configured: bool = False
    last_bootstrap_at: Timestamp = None
    last_error: str = ""


class RegistriesStatusRequest(Message):
    """Nothing to say."""


class RegistriesStatusResponse(Message):
    """How the registries are."""

    registries: list[RegistryRuntimeStatus] = []


_REGISTRIES = "/v1/admin/registries"

list_registries = Operation(
    method="ListRegistries",
    request=ListRegistriesRequest,
    response=ListRegistriesResponse,
    summary="List registries.",
    http=Http(verb="GET", path=_REGISTRIES),
    cli="admin registries list",
    **ADMIN,
)
get_registry = Operation(
    method="GetRegistry",
    request=GetRegistryRequest,
    response=GetRegistryResponse,
    summary="Get a registry, without its credentials.",
    http=Http(verb="GET", path=f"{_REGISTRIES}/{{name}}"),
    cli="admin registries get {name}",
    **ADMIN,
)
add_registry = Operation(
    method="AddRegistry",
    request=AddRegistryRequest,
    response=AddRegistryResponse,
    summary="Add a registry.",
    http=Http(verb="POST", path=_REGISTRIES, body="registry"),
    effect=Effect.CHANGE,
    **ADMIN,
)
update_registry = Operation(
    method="UpdateRegistry",
    request=UpdateRegistryRequest,
    response=UpdateRegistryResponse,
    summary="Replace a registry's settings.",
    http=Http(verb="PUT", path=f"{_REGISTRIES}/{{registry.name}}", body="registry"),
    effect=Effect.SETTLE,
    **ADMIN,
)
remove_registry = Operation(
    method="RemoveRegistry",
    request=RemoveRegistryRequest,
    response=RemoveRegistryResponse,
    summary="Remove a registry.",
    http=Http(verb="DELETE", path=f"{_REGISTRIES}/{{name}}"),
    cli="admin registries remove {name}",
    effect=Effect.DESTROY,
    **ADMIN,
)
bootstrap_registries = Operation(
    method="BootstrapAuth",
    request=BootstrapAuthRequest,
    response=BootstrapAuthResponse,
    summary="Make the secrets that registries log in with.",
    http=Http(verb="POST", path=f"{_REGISTRIES}:bootstrap", body="*"),
    cli="admin registries bootstrap",
    name="bootstrap_registries",
    effect=Effect.SETTLE,
    **ADMIN,
)
test_registry = Operation(
    method="TestRegistry",
    request=TestRegistryRequest,
    response=TestRegistryResponse,
    summary="Try to log in to a registry.",
    http=Http(verb="POST", path=f"{_REGISTRIES}/{{name}}/test", body="*"),
    cli="admin registries test {name}",
    **ADMIN,
)
registries_status = Operation(
    method="RegistriesStatus",
    request=RegistriesStatusRequest,
    response=RegistriesStatusResponse,
    summary="See how the registries are.",
    http=Http(verb="GET", path=f"{_REGISTRIES}:status"),
    cli="admin registries status",
    **ADMIN,
)
