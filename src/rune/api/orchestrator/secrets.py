"""Secrets: sealed values. What reads return is names of keys, never a value."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import PagingParams, Status
from rune.api.fields import (
    Count,
    Int32,
    Message,
    Name,
    NamespaceFilter,
    NamespaceName,
    Selector,
    Text,
    Timestamp,
    Uint64,
)
from rune.api.operation import Effect, Http, Kind, Operation
from rune.api.orchestrator.specs import SECRETS

SecretKey = Annotated[str, Meta(pattern=r"^(?!\.\.?$)[A-Za-z0-9._-]{1,253}$(?!\n)")]
SecretData = dict[SecretKey, str]


class Secret(Message):
    """A secret. `data` is written, and read through RevealSecret alone."""

    name: Name
    namespace: NamespaceName = ""
    type: Text = ""
    """`static`, also when empty."""
    data: SecretData = {}
    version: Int32 = 0
    created_at: Timestamp = None
    updated_at: Timestamp = None
    data_keys: list[str] = []


class SecretResponse(Message):
    """A secret, without its values unless they were asked to be revealed."""

    secret: Secret | None = None
    status: Status | None = None


class CreateSecretRequest(Message):
    """The secret to create."""

    secret: Secret
    ensure_namespace: bool = False


class GetSecretRequest(Message):
    """Which secret."""

    name: Name
    namespace: NamespaceName = ""


class UpdateSecretRequest(Message):
    """The secret as it should be: keys that are not named are gone."""

    secret: Secret


class DeleteSecretRequest(Message):
    """Which secret."""

    name: Name
    namespace: NamespaceName = ""


class ListSecretsRequest(Message):
    """Which secrets."""

    namespace: NamespaceFilter = ""
    label_selector: Selector = {}
    field_selector: Selector = {}
    paging: PagingParams | None = None


class ListSecretsResponse(Message):
    """The secrets, by namespace and name."""

    secrets: list[Secret] = []
    status: Status | None = None
    paging: PagingParams | None = None
    revision: Uint64 = 0


class RevealSecretRequest(Message):
    """Which secret to show."""

    name: Name
    namespace: NamespaceName = ""


class ListSecretVersionsRequest(Message):
    """Whose versions."""

    name: Name
    namespace: NamespaceName = ""


class ListSecretVersionsResponse(Message):
    """The kept versions, newest first."""

    versions: list[Secret] = []
    status: Status | None = None


class RevealSecretVersionRequest(Message):
    """Which version to show."""

    name: Name
    namespace: NamespaceName = ""
    version: Count = 0


class RollbackSecretRequest(Message):
    """Which version to make the newest again; 0 is the one before the newest."""

    name: Name
    namespace: NamespaceName = ""
    to_version: Count = 0


class PatchSecretRequest(Message):
    """Which keys to set and which to remove; the others stay."""

    name: Name
    namespace: NamespaceName = ""
    set: SecretData = {}
    unset: list[SecretKey] = []


_KIND = Kind(noun="secret", service="SecretService", path="/v1/namespaces/{namespace}/secrets")
_ITEM = "/v1/namespaces/{namespace}/secrets/{name}"

create = _KIND.create(CreateSecretRequest, SecretResponse, unsupported=SECRETS)
get = _KIND.get(GetSecretRequest, SecretResponse, unsupported=SECRETS)
list_ = _KIND.list(ListSecretsRequest, ListSecretsResponse, unsupported=SECRETS)
update = _KIND.update(UpdateSecretRequest, SecretResponse, unsupported=SECRETS)
delete = _KIND.delete(DeleteSecretRequest, Status, unsupported=SECRETS)
patch = Operation(
    service="SecretService",
    method="PatchSecret",
    request=PatchSecretRequest,
    response=SecretResponse,
    summary="Set some keys of a secret and remove others.",
    resource="secrets",
    verb="update",
    http=Http(verb="PATCH", path=_ITEM, body="*"),
    effect=Effect.SETTLE,
    unsupported=SECRETS,
)
reveal = Operation(
    service="SecretService",
    method="RevealSecret",
    request=RevealSecretRequest,
    response=SecretResponse,
    summary="Show the values of a secret.",
    resource="secrets",
    verb="reveal",
    http=Http(verb="POST", path=f"{_ITEM}/reveal", body="*"),
    effect=Effect.CHANGE,
    unsupported=SECRETS,
)
list_versions = Operation(
    service="SecretService",
    method="ListSecretVersions",
    request=ListSecretVersionsRequest,
    response=ListSecretVersionsResponse,
    summary="List the kept versions of a secret.",
    resource="secrets",
    verb="get",
    http=Http(verb="GET", path=f"{_ITEM}/versions"),
    unsupported=SECRETS,
)
reveal_version = Operation(
    service="SecretService",
    method="RevealSecretVersion",
    request=RevealSecretVersionRequest,
    response=SecretResponse,
    summary="Show the values of one version of a secret.",
    resource="secrets",
    verb="reveal",
    http=Http(verb="POST", path=f"{_ITEM}/versions/{{version}}/reveal", body="*"),
    effect=Effect.CHANGE,
    unsupported=SECRETS,
)
rollback = Operation(
    service="SecretService",
    method="RollbackSecret",
    request=RollbackSecretRequest,
    response=SecretResponse,
    summary="Make an earlier version of a secret the newest.",
    resource="secrets",
    verb="update",
    http=Http(verb="POST", path=f"{_ITEM}/rollback", body="*"),
    effect=Effect.CHANGE,
    unsupported=SECRETS,
)
