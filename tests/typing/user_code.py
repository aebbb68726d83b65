"""Code as a user would write it against what `rune` shows; the type checkers of both kinds must like it."""

from __future__ import annotations

from rune.errors import InvalidArgument, ResourceExhausted, RuneError, Violation


def seconds_to_wait(error: RuneError) -> float | None:
    """How long a caller waits before the next try, None when trying again is no use."""
    return error.retry_after if isinstance(error, ResourceExhausted) else None


def wrong_fields(error: InvalidArgument) -> list[str]:
    """The fields to mend."""
    return [violation.field for violation in error.details]


def exit_code(error: RuneError) -> int:
    """What a script that gives up should exit with."""
    return error.codes.exit


MISSING: InvalidArgument = InvalidArgument.of([Violation("service.name", "is missing")])
