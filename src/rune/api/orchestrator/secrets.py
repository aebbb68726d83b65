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
    revision: Uint64 = 0
    """The revision of the log that wrote it. An update that names one is refused with ABORTED when the secret
    has moved on since; 0 names none."""

    def __repr__(self) -> str:
        keys = sorted({*self.data, *self.data_keys})
        return f"Secret({self.namespace}/{self.name}, version={self.version}, keys={keys}, ***)"


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

    def __repr__(self) -> str:
        words = f"set={sorted(self.set)}, unset={self.unset}"
        return f"PatchSecretRequest({self.namespace}/{self.name}, {words}, ***)"


_KIND = Kind(noun="secret", service="SecretService", path="/v1/namespaces/{namespace}/secrets")
_ITEM = "/v1/namespaces/{namespace}/secrets/{name}"

create = _KIND.create(CreateSecretRequest, SecretResponse)
get = _KIND.get(GetSecretRequest, SecretResponse)
list_ = _KIND.list(ListSecretsRequest, ListSecretsResponse)
update = _KIND.update(UpdateSecretRequest, SecretResponse)
delete = _KIND.delete(DeleteSecretRequest, Status)
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
    cli="secret versions {name}",
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
    cli="secret rollback {name}",
    effect=Effect.CHANGE,
)
