"""Runs `rune` in this process as a shell would."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from rune.cli.app import run
from unit.client.plane import TOKEN


class Ran(NamedTuple):
    """What came of it."""

    code: int
    out: str
    err: str


def shell(
    monkeypatch: pytest.MonkeyPatch, address: str, *args: str, env: Mapping[str, str] | None = None
) -> Ran:
    """Run it against the server at the address."""
    for name in ("RUNE_NAMESPACE", "RUNE_CLI_CONFIG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    usual = {"RUNE_SERVER": address, "RUNE_TOKEN": TOKEN, "HOME": "/nonexistent"}
    for name, value in {**usual, **(env or {})}.items():
        monkeypatch.setenv(name, value)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(args))
    return Ran(code, out.getvalue(), err.getvalue())
