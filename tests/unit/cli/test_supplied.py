"""Values of secrets never stand on a command line: they come from stdin, files or a prompt."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from rune.api.orchestrator import secrets
from rune.cli import supplied
from unit.cli.terminal import Ran

Rune = Callable[..., Ran]
NONE: dict[str, tuple[str, ...]] = {"from_literal": (), "from_file": (), "from_env_file": (), "prompt": ()}


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("given", "value"), [(b"pw\n", "pw"), (b"pw", "pw"), (b"a\nb\n", "a\nb"), (b"pw\r\n", "pw")]
)
def test_a_literal_comes_from_stdin_without_its_last_line_break(
    monkeypatch: pytest.MonkeyPatch, given: bytes, value: str
) -> None:
    stdin(monkeypatch, given)
    assert supplied.data({**NONE, "from_literal": ("password=-",)}) == {"password": value}


@pytest.mark.parametrize("command", [("create", "secret", "db"), ("secret", "set", "db")])
def test_a_literal_on_the_command_line_is_refused_and_not_repeated(
    rune: Rune, command: tuple[str, ...]
) -> None:
    ran = rune(*command, "--from-literal", "password=hunter2")
    assert ran.code == 2
    assert "--from-literal password=-: the value comes from stdin" in ran.err
    assert "hunter2" not in ran.out + ran.err


def test_stdin_is_the_value_of_one_key(rune: Rune) -> None:
    ran = rune("create", "secret", "db", "--from-literal", "a=-", "--from-file", "b=-")
    assert (ran.code, "stdin can be the value of one key only" in ran.err) == (2, True)


def test_nothing_at_all_is_refused_with_the_ways_there_are(rune: Rune) -> None:
    assert "--from-literal KEY=-" in rune("create", "secret", "db").err
    assert "or --unset" in rune("secret", "set", "db").err


def test_files_are_taken_whole_and_env_files_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("line\n", encoding="utf-8")
    (tmp_path / "env").write_text('# comment\nA=1\n\nB="two words"\n', encoding="utf-8")
    files, envs = (f"{tmp_path}/key.pem", f"tls={tmp_path}/key.pem"), (f"{tmp_path}/env",)
    assert supplied.data({**NONE, "from_file": files, "from_env_file": envs}) == {
        "A": "1",
        "B": "two words",
        "key.pem": "line\n",
        "tls": "line\n",
    }


def test_the_request_that_is_sent_does_not_print_its_values() -> None:
    ask = secrets.CreateSecretRequest(secret=secrets.Secret(name="db", data={"password": "hunter2"}))
    assert "hunter2" not in repr(ask)
