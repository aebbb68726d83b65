"""What HTTP itself refuses before an operation is asked; the same body as every other failure."""

from __future__ import annotations

from collections.abc import Iterable

from rune.errors import Codes, Conflict, InvalidArgument, NotFound, Unimplemented


class NoSuchPath(NotFound):
    """Nothing is served at this path; /openapi.yaml lists what is."""


class WrongMethod(Unimplemented):
    """The path takes other methods."""

    codes = Codes(name="UNIMPLEMENTED", grpc=12, http=405, exit=1)

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"this path does not take {method}, it takes {self.allowed}")


class TooLarge(InvalidArgument):
    """The request is larger than this server takes."""

    codes = Codes(name="INVALID_ARGUMENT", grpc=3, http=413, exit=6)


class WrongMediaType(InvalidArgument):
    """The body is of a type that this server does not read."""

    codes = Codes(name="INVALID_ARGUMENT", grpc=3, http=415, exit=6)


class StaleMatch(Conflict):
    """The resource is not at the revision that If-Match names."""

    codes = Codes(name="ABORTED", grpc=10, http=412, exit=5)
