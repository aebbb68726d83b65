"""From what a wire says of a failure back to the failure that was raised."""

from __future__ import annotations

from collections.abc import Sequence

from rune.errors import BY_GRPC, Internal, OutOfRange, ResourceExhausted, RuneError, Unavailable, Violation

_CANCELLED = 1


def failure(
    code: int,
    message: str,
    *,
    violations: Sequence[Violation] = (),
    retry_after: float = 1.0,
    oldest: int = 0,
) -> RuneError:
    """The failure of that gRPC status, with what the details said."""
    kind = BY_GRPC.get(code, Unavailable if code == _CANCELLED else Internal)
    if issubclass(kind, ResourceExhausted):
        return kind(message, retry_after=retry_after)
    if issubclass(kind, OutOfRange):
        return kind(message, oldest=oldest)
    return kind(message, details=violations)
