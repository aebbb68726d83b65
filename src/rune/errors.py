"""The closed list of failures. Code raises what went wrong; each edge reads its own column of `Codes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple


class Codes(NamedTuple):
    """One row of the table that turns a failure into what each edge calls it."""

    name: str
    grpc: int
    http: int
    exit: int


class Violation(NamedTuple):
    """One thing that is wrong with a request: `field` is a dotted path such as `service.ports[0].port`."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class RuneError(Exception):
    """The root of everything Rune raises on purpose.

    The message may be read by the caller. What only the operator may see goes into `__cause__`
    (`raise … from cause`), which edges log and never send.
    """

    codes: ClassVar[Codes] = Codes(name="INTERNAL", grpc=13, http=500, exit=1)

    def __init__(self, message: str = "", /, *, details: Sequence[Violation] = ()) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])
        self.details = tuple(details)

    @property
    def message(self) -> str:
        """What the caller may read."""
        return str(self.args[0])


class InvalidArgument(RuneError):
    """The request is malformed, whatever the state of the system."""

    codes = Codes(name="INVALID_ARGUMENT", grpc=3, http=400, exit=6)

    @classmethod
    def of(cls, violations: Sequence[Violation]) -> InvalidArgument:
        """An error that lists every violation, in its message and as details."""
        return cls("; ".join(map(str, violations)), details=violations)


class DeadlineExceeded(RuneError):
    """The work was not done in the time allowed."""

    codes = Codes(name="DEADLINE_EXCEEDED", grpc=4, http=504, exit=7)


class NotFound(RuneError):
    """There is no such resource, or the caller may not know that there is."""

    codes = Codes(name="NOT_FOUND", grpc=5, http=404, exit=4)


class AlreadyExists(RuneError):
    """A resource of this name exists."""

    codes = Codes(name="ALREADY_EXISTS", grpc=6, http=409, exit=5)


class PermissionDenied(RuneError):
    """The caller is known and may not do this."""

    codes = Codes(name="PERMISSION_DENIED", grpc=7, http=403, exit=3)


class ResourceExhausted(RuneError):
    """A limit was reached; `retry_after` says in how many seconds to try again."""

    codes = Codes(name="RESOURCE_EXHAUSTED", grpc=8, http=429, exit=1)

    def __init__(
        self, message: str = "", /, *, retry_after: float = 1.0, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        """What HTTP says besides."""


class FailedPrecondition(RuneError):
    """The state of the system does not allow the operation."""

    codes = Codes(name="FAILED_PRECONDITION", grpc=9, http=412, exit=5)


class Conflict(RuneError):
    """The resource changed since it was read: read it again, then repeat the change."""

    codes = Codes(name="ABORTED", grpc=10, http=409, exit=5)


class OutOfRange(RuneError):
    """The revision is older than the kept history: list again, then watch from `oldest`."""

    codes = Codes(name="OUT_OF_RANGE", grpc=11, http=410, exit=1)

    def __init__(self, message: str = "", /, *, oldest: int = 0) -> None:
        super().__init__(message)
        self.oldest = oldest


class Unimplemented(RuneError):
    """The contract names this, and this release does not support it."""

    codes = Codes(name="UNIMPLEMENTED", grpc=12, http=501, exit=1)


class Internal(RuneError):
    """Something failed inside the server; the log has the cause under the request id."""


class Unavailable(RuneError):
    """The server, or something it stands on, is out of reach for now: try again."""

    codes = Codes(name="UNAVAILABLE", grpc=14, http=503, exit=1)


class Closed(Unavailable):
    """The server is stopping. What works beside it ends at this, and tries again after other failures."""


class Unauthenticated(RuneError):
    """The credential is missing, unknown, expired or revoked."""

    codes = Codes(name="UNAUTHENTICATED", grpc=16, http=401, exit=3)


FAILURES: tuple[type[RuneError], ...] = (
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Conflict,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
)
"""Every failure an edge can meet, by which clients turn a status back into an exception."""

BY_GRPC: dict[int, type[RuneError]] = {failure.codes.grpc: failure for failure in FAILURES}
