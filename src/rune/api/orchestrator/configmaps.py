"""Configmaps: plain settings, as files or environment variables of services."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from rune.api.common import EventType, PagingParams, Status
from rune.api.fields import (
    Count,
    Int32,
    Message,
    Name,
    NamespaceFilter,
    NamespaceName,
    Selector,
    Timestamp,
    Uint64,
)
from rune.api.operation import Effect, Http, Kind, Operation
from rune.api.resource import Resource

ConfigKey = Annotated[str, Meta(pattern=r"^(?!\.\.?$)[A-Za-z0-9._-]{1,253}$(?!\n)")]
ConfigData = dict[ConfigKey, Annotated[str, Meta(max_length=1 << 20)]]


class Configmap(Resource):
    """A configmap. Its version counts up when its data really changes."""

    KIND: ClassVar[str] = "configmap"

    name: Name
    namespace: NamespaceName = ""
    data: ConfigData = {}
    version: Int32 = 0
    created_at: Timestamp = None
    updated_at: Timestamp = None


class ConfigmapResponse(Message):
    """A configmap."""

    configmap: Configmap | None = None
    status: Status | None = None


class CreateConfigmapRequest(Message):
    """The configmap to create."""

    configmap: Configmap
    ensure_namespace: bool = False


class GetConfigmapRequest(Message):
    """Which configmap."""

    name: Name
    namespace: NamespaceName = ""


class UpdateConfigmapRequest(Message):
    """The configmap as it should be: keys that are not named are gone."""

    configmap: Configmap


class DeleteConfigmapRequest(Message):
    """Which configmap."""

    name: Name
    namespace: NamespaceName = ""


class ListConfigmapsRequest(Message):
    """Which configmaps."""

    namespace: NamespaceFilter = ""
    label_selector: Selector = {}
    field_selector: Selector = {}
    paging: PagingParams | None = None


class ListConfigmapsResponse(Message):
    """The configmaps, by namespace and name."""

    configmaps: list[Configmap] = []
    status: Status | None = None
    paging: PagingParams | None = None
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class WatchConfigmapsRequest(Message):
    """Which configmaps to watch."""

    namespace: NamespaceFilter = ""
    label_selector: Selector = {}
    field_selector: Selector = {}
    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchConfigmapsResponse(Message):
    """One change. For a configmap that was deleted: as it was last."""

    configmap: Configmap | None = None
    event_type: EventType = EventType.UNSPECIFIED
    status: Status | None = None
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


class PatchConfigmapRequest(Message):
    """Which keys to set and which to remove; the others stay."""

    name: Name
    namespace: NamespaceName = ""
    set: ConfigData = {}
    unset: list[ConfigKey] = []


class ListConfigmapVersionsRequest(Message):
    """Whose versions."""

    name: Name
    namespace: NamespaceName = ""


class ListConfigmapVersionsResponse(Message):
    """The kept versions, newest first."""

    versions: list[Configmap] = []
    status: Status | None = None


class RollbackConfigmapRequest(Message):
    """Which version to make the newest again; 0 is the one before the newest."""

    name: Name
    namespace: NamespaceName = ""
    to_version: Count = 0


_KIND = Kind(noun="configmap", service="ConfigmapService", path="/v1/namespaces/{namespace}/configmaps")
_ITEM = "/v1/namespaces/{namespace}/configmaps/{name}"

create = _KIND.create(CreateConfigmapRequest, ConfigmapResponse)
get = _KIND.get(GetConfigmapRequest, ConfigmapResponse)
list_ = _KIND.list(ListConfigmapsRequest, ListConfigmapsResponse, watch="watch_configmaps")
watch = _KIND.watch(WatchConfigmapsRequest, WatchConfigmapsResponse)
update = _KIND.update(UpdateConfigmapRequest, ConfigmapResponse)
delete = _KIND.delete(DeleteConfigmapRequest, Status)
patch = Operation(
    service="ConfigmapService",
    method="PatchConfigmap",
    request=PatchConfigmapRequest,
    response=ConfigmapResponse,
    summary="Set some keys of a configmap and remove others.",
    resource="configmaps",
    verb="update",
    http=Http(verb="PATCH", path=_ITEM, body="*"),
    effect=Effect.SETTLE,
)
list_versions = Operation(
    service="ConfigmapService",
    method="ListConfigmapVersions",
    request=ListConfigmapVersionsRequest,
    response=ListConfigmapVersionsResponse,
    summary="List the kept versions of a configmap.",
    resource="configmaps",
    verb="get",
    http=Http(verb="GET", path=f"{_ITEM}/versions"),
)
rollback = Operation(
    service="ConfigmapService",
    method="RollbackConfigmap",
    request=RollbackConfigmapRequest,
    response=ConfigmapResponse,
    summary="Make an earlier version of a configmap the newest.",
    resource="configmaps",
    verb="update",
    http=Http(verb="POST", path=f"{_ITEM}/rollback", body="*"),
    effect=Effect.CHANGE,
)
