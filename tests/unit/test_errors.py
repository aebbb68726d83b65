"""The list of failures is closed, and each edge can read its column."""

from __future__ import annotations

import pytest

from promises import promise
from rune import errors

PUBLISHED: dict[type[errors.RuneError], tuple[int, int]] = {
    errors.Unauthenticated: (16, 401),
    errors.PermissionDenied: (7, 403),
    errors.NotFound: (5, 404),
    errors.AlreadyExists: (6, 409),
    errors.InvalidArgument: (3, 400),
    errors.FailedPrecondition: (9, 412),
    errors.Internal: (13, 500),
}


@promise("errors.grpc", "errors.http")
@pytest.mark.parametrize("failure", PUBLISHED, ids=lambda failure: failure.__name__)
def test_a_published_failure_has_its_published_numbers(failure: type[errors.RuneError]) -> None:
    assert (failure.codes.grpc, failure.codes.http) == PUBLISHED[failure]


@promise("errors.return")
@pytest.mark.parametrize("failure", errors.FAILURES, ids=lambda failure: failure.__name__)
def test_a_status_leads_back_to_the_failure(failure: type[errors.RuneError]) -> None:
    assert errors.BY_GRPC[failure.codes.grpc] is failure


@promise("errors.violations")
def test_a_malformed_request_lists_every_violation() -> None:
    violations = [errors.Violation("service.name", "is missing"), errors.Violation("", "is empty")]
    error = errors.InvalidArgument.of(violations)
    assert error.message == "service.name: is missing; is empty"
    assert error.details == tuple(violations)


@pytest.mark.parametrize("failure", errors.FAILURES, ids=lambda failure: failure.__name__)
def test_a_failure_without_a_message_says_what_it_means(failure: type[errors.RuneError]) -> None:
    assert failure().message == (failure.__doc__ or "").splitlines()[0]


def test_the_list_names_every_failure_there_is() -> None:
    ours = {kind for kind in errors.RuneError.__subclasses__() if kind.__module__.startswith("rune.")}
    assert ours == set(errors.FAILURES)


def test_a_limit_says_when_to_try_again() -> None:
    assert errors.ResourceExhausted("too many requests", retry_after=2.5).retry_after == 2.5


def test_a_lost_watch_says_where_to_start() -> None:
    assert errors.OutOfRange("compacted", oldest=812).oldest == 812
