"""Whether the server answers at all; the one question that needs no credential."""

from __future__ import annotations

from rune.api.fields import Message, UnixMillis
from rune.api.operation import SECURITY, Access, Http, Operation, Rate


class GetLivenessRequest(Message):
    """Nothing to say."""


class Liveness(Message):
    """The server answers."""

    status: str = "ok"
    timestamp: UnixMillis = None


get = Operation(
    package=SECURITY,
    service="LivenessService",
    method="GetHealth",
    request=GetLivenessRequest,
    response=Liveness,
    summary="See whether the server answers.",
    resource="health",
    verb="get",
    http=Http(verb="GET", path="/health"),
    access=Access.PUBLIC,
    rate=Rate.SDK,
)
