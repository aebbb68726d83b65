"""`rune admin certs`: each command says what it did and which comes next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from unit.cli.terminal import Ran, shell

Rune = Callable[..., Ran]


@pytest.fixture
def rune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rune:
    """Runs a command in the folder, with no server anywhere."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Ran:
        return shell(monkeypatch, "127.0.0.1:1", "admin", "certs", *args)

    return run


def test_from_nothing_to_a_login(rune: Rune) -> None:
    made = rune("init")
    assert (made.code, made.out) == (0, "the authority is in certs\n")
    assert "next: rune admin certs issue --dir certs --server" in made.err
    assert "already" in rune("init").out
    server = rune("issue", "--server", "a.example", "--server", "10.0.0.1")
    assert server.out == "certs/server.pem (issued); its key is certs/server-key.pem\n"
    assert "auth.tls.enabled: true" in server.err
    assert "there already" in rune("issue", "--server", "a.example", "--server", "10.0.0.1").out
    client = rune("issue", "--client", "ann")
    assert "rune login --server grpcs://HOST:7863 --ca-file certs/ca.pem --cert-file" in client.err
    shown = rune("show").out
    assert "client-ann" in shown
    assert "a.example,10.0.0.1" in shown
    assert rune("renew").out == "nothing ends within 30 days\n"
    assert "SIGHUP" in rune("renew", "server").err


def test_what_is_missing_is_told(rune: Rune) -> None:
    assert rune("issue", "--client", "ann").code == 4
    assert rune("issue").code == 2
    assert rune("issue", "--client", "ann", "--server", "a").code == 2
    assert rune("show").code == 4
