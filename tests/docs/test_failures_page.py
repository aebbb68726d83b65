"""The page of failures says what the table in the code says."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from rune import errors

PAGE = Path(__file__).parents[2] / "docs/reference/failures.md"


def row(failure: type[errors.RuneError]) -> str:
    """The failure as a row of the page's table."""
    codes = failure.codes
    meaning = (failure.__doc__ or "").splitlines()[0]
    http = f"{codes.http} {HTTPStatus(codes.http).phrase}"
    return f"| `{failure.__name__}` | {codes.name} ({codes.grpc}) | {http} | {codes.exit} | {meaning} |"


def test_the_page_lists_every_failure_as_the_code_has_it() -> None:
    head = ["| failure | gRPC | HTTP | exit code | meaning |", "|---|---|---|--:|---|"]
    table = "\n".join([*head, *map(row, errors.FAILURES)])
    assert table in PAGE.read_text(encoding="utf-8"), f"put this into {PAGE.name}:\n{table}"
