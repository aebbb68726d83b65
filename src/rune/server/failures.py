"""What a failure looks like on the wire: a `google.rpc.Status` with details, as protobuf and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message as ProtoMessage
from google.rpc import error_details_pb2, status_pb2

from rune.errors import Conflict, OutOfRange, ResourceExhausted, RuneError

DOMAIN = "rune"
REASONS: dict[type[RuneError], str] = {OutOfRange: "WATCH_EXPIRED", Conflict: "REVISION_CHANGED"}
"""Where the reason says more than the name of the status."""
STATUS_BYTES = 6 * 1024
"""A client takes 8 KiB of metadata; details that would not fit lose their last violations."""
TEXT_BYTES = 1024


def status(failure: RuneError, request_id: str) -> status_pb2.Status:
    """The failure with everything a client may act on."""
    answer = status_pb2.Status(code=failure.codes.grpc, message=failure.message)
    for detail in _details(failure, request_id):
        packed = any_pb2.Any()
        packed.Pack(detail)
        answer.details.append(packed)
    return answer


def status_bytes(failure: RuneError, request_id: str) -> bytes:
    """The same for `grpc-status-details-bin`, short enough for every client."""
    whole = status(failure, request_id).SerializeToString()
    if len(whole) <= STATUS_BYTES:
        return whole
    details = failure.details
    answer = status(RuneError(), request_id)
    answer.code, answer.message = failure.codes.grpc, shortened(failure.message)
    short = type(failure)(answer.message)
    while details:
        details = details[: len(details) // 2]
        short.details = details
        data = status(short, request_id).SerializeToString()
        if len(data) <= STATUS_BYTES:
            return data
    return status(type(failure)(answer.message), request_id).SerializeToString()


def shortened(text: str) -> str:
    """At most `TEXT_BYTES` of the text, so that it fits into a header."""
    data = text.encode(errors="replace")
    return text if len(data) <= TEXT_BYTES else data[:TEXT_BYTES].decode(errors="ignore") + "…"


def plain(failure: RuneError, request_id: str) -> dict[str, Any]:
    """The error body of REST: the published one, with the details as protobuf's JSON shows them."""
    details = [
        {"@type": f"type.googleapis.com/{detail.DESCRIPTOR.full_name}", **json_format.MessageToDict(detail)}
        for detail in _details(failure, request_id)
    ]
    message = failure.message
    return {"error": message, "code": failure.codes.grpc, "message": message, "details": details}


def body(failure: RuneError, request_id: str) -> bytes:
    """The error body as JSON text."""
    return msgspec.json.encode(plain(failure, request_id))


def _details(failure: RuneError, request_id: str) -> list[ProtoMessage]:
    info = error_details_pb2.ErrorInfo(reason=REASONS.get(type(failure), failure.codes.name), domain=DOMAIN)
    found: list[ProtoMessage] = [info]
    if isinstance(failure, OutOfRange):
        info.metadata["oldest"] = str(failure.oldest)
    if failure.details:
        request = error_details_pb2.BadRequest()
        for violation in failure.details:
            request.field_violations.add(field=violation.field, description=violation.description)
        found.append(request)
    if isinstance(failure, ResourceExhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(failure.retry_after * 1e9))
        found.append(retry)
    found.append(error_details_pb2.RequestInfo(request_id=request_id))
    return found
