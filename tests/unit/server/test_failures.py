"""Failures on the wire: their details, and that they fit into a header."""

from __future__ import annotations

from google.rpc import error_details_pb2, status_pb2

from rune.errors import InvalidArgument, NotFound, OutOfRange, Violation
from rune.server.failures import STATUS_BYTES, plain, status_bytes


def test_a_failure_with_thousands_of_violations_still_fits_into_a_header() -> None:
    failure = InvalidArgument.of([Violation(f"field{n}", "is wrong " * 10) for n in range(2000)])
    data = status_bytes(failure, "r")
    assert len(data) <= STATUS_BYTES
    status = status_pb2.Status.FromString(data)
    request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(request)
    assert request.field_violations[0].field == "field0"


def test_a_failure_with_an_endless_message_still_fits_into_a_header() -> None:
    assert len(status_bytes(NotFound("ü" * 100_000), "r")) <= STATUS_BYTES


def test_the_oldest_revision_is_among_the_details() -> None:
    body = plain(OutOfRange("too old", oldest=812), "r")
    assert body["code"] == 11
    assert body["details"][0]["metadata"] == {"oldest": "812"}
