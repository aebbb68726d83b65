"""Logs: what instances wrote, as a stream."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import Status
from rune.api.fields import Int32, Message, NamespaceName, Text, Timestamp, later
from rune.api.operation import Http, Operation, Rate, Streaming


class LogRequest(Message):
    """Whose logs: a service (`api`, `service/api`) or an instance (its id, `instance/ID`)."""

    resource_target: Annotated[str, Meta(max_length=256)] = ""
    namespace: NamespaceName = ""
    follow: bool = False
    """Go on with what is written from now on, also by instances that start later."""
    tail: Int32 = 0
    """Only the last lines of each instance; 0 means 100 (all when `since` is given), negative means all."""
    since: Text = ""
    """RFC 3339, or how long ago, such as `10m`."""
    until: Text = ""
    timestamps: bool = False
    """Begin each line's content with its time as well."""
    filter: Text = ""
    """Only lines that contain this, whatever the case."""
    parameter_update: bool = False
    """In StreamLogs, on a later message: go on with these parameters instead."""
    show_logs: bool = False
    show_events: Annotated[bool, later("events among the logs are not part of this release")] = False
    show_status: Annotated[bool, later("status among the logs is not part of this release")] = False
    together: bool = False
    """Lines that differ in their text alone may come in one answer; a busy log is read far faster so."""


class LogResponse(Message):
    """One line, or with `together` several of one instance, stream, time and level."""

    service_name: str = ""
    instance_id: str = ""
    instance_name: str = ""
    timestamp: Timestamp = None
    content: str = ""
    stream: str = ""
    """`stdout` or `stderr`."""
    status: Status | None = None
    log_level: str = ""
    """error, warn or info, guessed from the text."""
    more: list[str] = []
    """The lines after `content`, where they were asked for together."""


stream = Operation(
    service="LogService",
    method="StreamLogs",
    request=LogRequest,
    response=LogResponse,
    summary="Stream logs, with parameters that may change on the way.",
    resource="logs",
    verb="get",
    streaming=Streaming.BOTH,
    rate=Rate.STREAM,
)
get = Operation(
    service="LogService",
    method="GetLogs",
    request=LogRequest,
    response=LogResponse,
    summary="Read the logs of a service or an instance, and follow them.",
    resource="logs",
    verb="get",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/logs/{resource_target}"),
    streaming=Streaming.SERVER,
    rate=Rate.STREAM,
)
