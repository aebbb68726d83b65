"""Port forwarding: connections of a client's machine, carried through the API to a copy."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import Status
from rune.api.fields import Message, NamespaceName, Text, Uint32, Uint64, later, one_of
from rune.api.operation import Effect, Operation, Rate, Streaming


class PortForwardInit(Message):
    """Where connections go: to one instance, or each to a ready instance of a service."""

    service_name: Annotated[Text | None, one_of("target")] = None
    instance_id: Annotated[Text | None, one_of("target")] = None
    control_plane: Annotated[
        bool | None, one_of("target"), later("the control plane has its own addresses")
    ] = None
    namespace: NamespaceName = ""
    ports: Annotated[
        list[Annotated[int, Meta(ge=1, le=65535, extra={"proto": "uint32"})]], Meta(max_length=256)
    ] = []
    """The ports that will be used, to hear of a wrong one at once; others are refused then."""
    instance_selector: Annotated[Text, later("choose an instance by its id")] = ""


class PortForwardOpen(Message):
    """A new connection, with a number that this stream has not used."""

    conn_id: Uint64 = 0
    remote_port: Uint32 = 0
    """A port that the service declares: its `port`, or where the copies listen."""


class PortForwardData(Message):
    """Bytes of a connection. None at all, from a client, say that it will send no more and still listens."""

    conn_id: Uint64 = 0
    payload: Annotated[bytes, Meta(max_length=1 << 20)] = b""


class PortForwardClose(Message):
    """The connection is over; `error` says why when it did not end well."""

    conn_id: Uint64 = 0
    error: Text = ""


class PortForwardReady(Message):
    """Connections may come. A service's further ones may go to other instances."""

    instance_id: Text = ""
    namespace: Text = ""
    service_name: Text = ""


class PortForwardClientMessage(Message):
    """The first message says where to; the others open, feed and close connections."""

    init: Annotated[PortForwardInit | None, one_of("message")] = None
    open: Annotated[PortForwardOpen | None, one_of("message")] = None
    data: Annotated[PortForwardData | None, one_of("message")] = None
    close: Annotated[PortForwardClose | None, one_of("message")] = None


class PortForwardServerMessage(Message):
    """That it is ready, then what connections say and when they close."""

    ready: Annotated[PortForwardReady | None, one_of("message")] = None
    data: Annotated[PortForwardData | None, one_of("message")] = None
    close: Annotated[PortForwardClose | None, one_of("message")] = None
    status: Annotated[Status | None, one_of("message")] = None


stream = Operation(
    service="PortForwardService",
    method="StreamPortForward",
    request=PortForwardClientMessage,
    response=PortForwardServerMessage,
    summary="Carry connections to a service or an instance.",
    resource="services",
    verb="port-forward",
    streaming=Streaming.BOTH,
    effect=Effect.CHANGE,
    rate=Rate.STREAM,
)
