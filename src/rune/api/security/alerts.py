"""Alerts: what somebody should look at, one for many events of the same kind; and false positives."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import WatchFrom
from rune.api.fields import JsonObject, MaybeText, Message, Total, UnixMillis
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate
from rune.api.security.words import (
    WATCH,
    AnySeverity,
    Cursor,
    Deleted,
    Id,
    Label,
    Limit,
    NextCursor,
    Note,
    ShownId,
    Updated,
    Watched,
)

AlertStatus = Annotated[
    str,
    Meta(
        pattern=r"^(open|investigating|resolved|false_positive)$(?!\n)",
        description="One of open, investigating, resolved and false_positive.",
    ),
]

ListedStatus = Annotated[
    str,
    Meta(
        pattern=r"^(open|investigating|resolved|false_positive|all)$(?!\n)",
        description="One of open, investigating, resolved, false_positive and all.",
    ),
]


class Alert(Message):
    """An alert."""

    id: ShownId
    severity: str
    alert_type: str
    title: str
    status: str
    agent_id: str
    occurrences: Total
    threat: MaybeText = None
    """The type of the threat, where there is one."""
    rule: MaybeText = None
    """The rule that matched, where there is one."""
    first_seen: UnixMillis = None
    last_seen: UnixMillis = None


class AlertChange(Message):
    """One change of an alert's status."""

    status: str
    was: str
    at: UnixMillis = None
    by: Label = ""
    note: Note = ""


class ListAlertsRequest(Message):
    """Which alerts."""

    status: ListedStatus = "open"
    severity: AnySeverity = ""
    agent_id: Label = ""
    limit: Limit = 50
    cursor: Cursor = ""


class ListAlertsResponse(Message):
    """The alerts, newest first."""

    alerts: list[Alert] = []
    next_cursor: NextCursor = None


class WatchAlertsRequest(WatchFrom):
    """Which alerts, and from where on."""

    status: ListedStatus = "open"
    severity: AnySeverity = ""
    agent_id: Label = ""


class WatchAlertsResponse(Watched):
    """One change: an alert that begins or ceases to be one of those is added or deleted.
    An item without an alert ends what there was at the start.
    """

    alert: Alert | None = None


class GetAlertRequest(Message):
    """Which alert."""

    alert_id: Id


class AlertDetails(Message):
    """An alert, its history, and the event that raised it last."""

    alert: Alert
    history: list[AlertChange] = []
    last_event: MaybeText = None
    """The event's id."""
    details: JsonObject = {}
    """What speaks for it: the scan and policy results of the event, or the numbers of an anomaly."""


class UpdateAlertRequest(Message):
    """The alert's new status, from any to any, and why."""

    alert_id: Id
    status: AlertStatus
    note: Note = ""


class FalsePositivePattern(Message):
    """What scanners let pass since somebody confirmed that it is harmless."""

    id: ShownId
    threat_type: str
    rule: MaybeText = None
    fingerprint: MaybeText = None
    """The keyed hash of the very text that is meant."""
    pattern: MaybeText = None
    agent_id: MaybeText = None
    """None means every agent."""
    created_at: UnixMillis = None
    created_by: Label = ""
    alert_id: MaybeText = None


class ListFalsePositivesRequest(Message):
    """Which part of the list."""

    limit: Limit = 50
    cursor: Cursor = ""


class ListFalsePositivesResponse(Message):
    """The false positives, newest first."""

    false_positives: list[FalsePositivePattern] = []
    next_cursor: NextCursor = None


class DeleteFalsePositiveRequest(Message):
    """Which one."""

    false_positive_id: Id


list_ = Operation(
    package=SECURITY,
    service="AlertService",
    resource="alerts",
    method="ListAlerts",
    request=ListAlertsRequest,
    response=ListAlertsResponse,
    summary="List the open alerts, or those of another status.",
    verb="list",
    http=Http(verb="GET", path="/v1/alerts"),
    cli="alerts list",
    rate=Rate.READ,
    watch="watch_alerts",
)
watch = Operation(
    package=SECURITY,
    service="AlertService",
    resource="alerts",
    method="WatchAlerts",
    request=WatchAlertsRequest,
    response=WatchAlertsResponse,
    summary="Watch the open alerts, or those of another status: what there is, then every change.",
    verb="watch",
    **WATCH,
)
get = Operation(
    package=SECURITY,
    service="AlertService",
    resource="alerts",
    method="GetAlert",
    request=GetAlertRequest,
    response=AlertDetails,
    summary="Get an alert with its history.",
    verb="get",
    http=Http(verb="GET", path="/v1/alerts/{alert_id}"),
    cli="alerts get {alert_id}",
    rate=Rate.READ,
)
update = Operation(
    package=SECURITY,
    service="AlertService",
    resource="alerts",
    method="UpdateAlert",
    request=UpdateAlertRequest,
    response=Updated,
    summary="Change an alert's status; as a false positive it teaches every scanner.",
    verb="update",
    http=Http(verb="POST", path="/v1/alerts/update", body="*"),
    cli="alerts update {alert_id} {status}",
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
)
list_false_positives = Operation(
    package=SECURITY,
    service="AlertService",
    resource="alerts",
    method="ListFalsePositives",
    request=ListFalsePositivesRequest,
    response=ListFalsePositivesResponse,
    summary="List what scanners let pass as confirmed false positives.",
    verb="list",
    http=Http(verb="GET", path="/v1/false-positives"),
    cli="alerts false-positives",
    rate=Rate.READ,
)
delete_false_positive = Operation(
    package=SECURITY,
    service="AlertService",
    resource="alerts",
    method="DeleteFalsePositive",
    request=DeleteFalsePositiveRequest,
    response=Deleted,
    summary="Let scanners find again what was a confirmed false positive.",
    verb="update",
    http=Http(verb="POST", path="/v1/false-positives/delete", body="*"),
    cli="alerts forget {false_positive_id}",
    effect=Effect.DESTROY,
    rate=Rate.WRITE,
)
