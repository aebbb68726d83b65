"""Namespaces: the scopes that services, secrets and everything else live in."""

from __future__ import annotations

from typing import ClassVar

from rune.api.common import EventType, PagingParams, Status
from rune.api.fields import Message, Name, Selector, Text, Uint64, UnixSeconds, WireEnum
from rune.api.operation import Kind
from rune.api.resource import Resource


class NamespaceDeletion(WireEnum):
    """Whether a namespace is being deleted; nothing new may be made in one that is."""

    UNSPECIFIED = "NAMESPACE_DELETION_UNSPECIFIED"
    IF_EMPTY = "NAMESPACE_DELETION_IF_EMPTY"
    """It goes if nothing is in it, and stays otherwise."""
    FORCED = "NAMESPACE_DELETION_FORCED"
    """It goes with everything in it."""


class Namespace(Resource):
    """A scope. `default` and `system` exist from the first start and cannot be deleted."""

    KIND: ClassVar[str] = "namespace"

    id: str = ""
    name: Name
    description: Text = ""
    labels: dict[str, str] = {}
    created_at: UnixSeconds = None
    updated_at: UnixSeconds = None
    deletion: NamespaceDeletion = NamespaceDeletion.UNSPECIFIED
    """The system's own mark; what clients send here is not taken."""


class CreateNamespaceRequest(Message):
    """The namespace to create; its name is all that is needed."""

    namespace: Namespace


class CreateNamespaceResponse(Message):
    """The namespace as it was stored."""

    namespace: Namespace | None = None
    status: Status | None = None


class GetNamespaceRequest(Message):
    """Which namespace."""

    name: Name


class GetNamespaceResponse(Message):
    """The namespace."""

    namespace: Namespace | None = None
    status: Status | None = None


class ListNamespacesRequest(Message):
    """Which namespaces: those the caller may see that match every selector."""

    label_selector: Selector = {}
    field_selector: Selector = {}


class ListNamespacesResponse(Message):
    """The namespaces, by name."""

    namespaces: list[Namespace] = []
    status: Status | None = None
    paging: PagingParams | None = None
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class DeleteNamespaceRequest(Message):
    """Which namespace to delete. One that is not empty is kept unless `force` is set."""

    name: Name
    ignore_not_found: bool = False
    force: bool = False
    """Delete everything in it as well."""


class DeleteNamespaceResponse(Message):
    """The namespace is gone."""

    status: Status | None = None


class WatchNamespacesRequest(Message):
    """Which namespaces to watch."""

    label_selector: Selector = {}
    field_selector: Selector = {}
    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchNamespacesResponse(Message):
    """One change."""

    namespace: Namespace | None = None
    event_type: EventType = EventType.UNSPECIFIED
    status: Status | None = None
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


_KIND = Kind(noun="namespace", service="NamespaceService", path="/v1/namespaces")

create = _KIND.create(CreateNamespaceRequest, CreateNamespaceResponse, scoped_by="namespace.name")
get = _KIND.get(GetNamespaceRequest, GetNamespaceResponse, scoped_by="name")
list_ = _KIND.list(ListNamespacesRequest, ListNamespacesResponse, scoped_by="*", watch="watch_namespaces")
watch = _KIND.watch(WatchNamespacesRequest, WatchNamespacesResponse, scoped_by="*")
delete = _KIND.delete(
    DeleteNamespaceRequest,
    DeleteNamespaceResponse,
    summary="Delete a namespace, with everything in it when forced.",
    scoped_by="name",
)
