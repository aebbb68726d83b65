"""Registries: where container images come from, and how to log in there."""

from __future__ import annotations

from rune.api.fields import Int32, Message, Name, Text, Timestamp
from rune.api.operation import Effect, Http, Operation
from rune.api.orchestrator.admin import ADMIN

REGISTRIES = "registries come with the Docker runner, which is not part of this release"


class RegistryAuthConfig(Message):
    """How to log in to a registry."""

    type: Text = ""
    username: Text = ""
    password: Text = ""
    token: Text = ""
    region: Text = ""
    from_secret: Text = ""
    bootstrap: bool = False
    manage: Text = ""
    immutable: bool = False
    data: dict[str, str] = {}


class RegistryConfig(Message):
    """A registry of container images."""

    name: Text = ""
    registry: Text = ""
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
    """The registry as it should be."""

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
    """Whose secrets to make from the configuration."""

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
    unsupported=REGISTRIES,
    **ADMIN,
)
get_registry = Operation(
    method="GetRegistry",
    request=GetRegistryRequest,
    response=GetRegistryResponse,
    summary="Get a registry, without its credentials.",
    http=Http(verb="GET", path=f"{_REGISTRIES}/{{name}}"),
    unsupported=REGISTRIES,
    **ADMIN,
)
add_registry = Operation(
    method="AddRegistry",
    request=AddRegistryRequest,
    response=AddRegistryResponse,
    summary="Add a registry.",
    http=Http(verb="POST", path=_REGISTRIES, body="registry"),
    effect=Effect.CHANGE,
    unsupported=REGISTRIES,
    **ADMIN,
)
update_registry = Operation(
    method="UpdateRegistry",
    request=UpdateRegistryRequest,
    response=UpdateRegistryResponse,
    summary="Replace a registry's settings.",
    http=Http(verb="PUT", path=f"{_REGISTRIES}/{{registry.name}}", body="registry"),
    effect=Effect.SETTLE,
    unsupported=REGISTRIES,
    **ADMIN,
)
remove_registry = Operation(
    method="RemoveRegistry",
    request=RemoveRegistryRequest,
    response=RemoveRegistryResponse,
    summary="Remove a registry.",
    http=Http(verb="DELETE", path=f"{_REGISTRIES}/{{name}}"),
    effect=Effect.DESTROY,
    unsupported=REGISTRIES,
    **ADMIN,
)
bootstrap_registries = Operation(
    method="BootstrapAuth",
    request=BootstrapAuthRequest,
    response=BootstrapAuthResponse,
    summary="Make the secrets that registries log in with.",
    http=Http(verb="POST", path=f"{_REGISTRIES}:bootstrap", body="*"),
    name="bootstrap_registries",
    effect=Effect.SETTLE,
    unsupported=REGISTRIES,
    **ADMIN,
)
test_registry = Operation(
    method="TestRegistry",
    request=TestRegistryRequest,
    response=TestRegistryResponse,
    summary="Try to log in to a registry.",
    http=Http(verb="POST", path=f"{_REGISTRIES}/{{name}}/test", body="*"),
    unsupported=REGISTRIES,
    **ADMIN,
)
registries_status = Operation(
    method="RegistriesStatus",
    request=RegistriesStatusRequest,
    response=RegistriesStatusResponse,
    summary="See how the registries are.",
    http=Http(verb="GET", path=f"{_REGISTRIES}:status"),
    unsupported=REGISTRIES,
    **ADMIN,
)
