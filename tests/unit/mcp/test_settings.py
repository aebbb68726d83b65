"""Where rune-mcp finds its server and its token, and that a token goes nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rune.client.contexts import Contexts, save
from rune.errors import InvalidArgument, NotFound
from rune.mcp.settings import DEFAULT_SERVER, settle, transport

FILE = """\
current-context: lab
contexts:
  lab: {server: "lab:7863", token: lab-token, defaultNamespace: x, caFile: /ca.pem}
  here: {token: here-token}
  empty:
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose home has contexts."""
    (tmp_path / ".rune").mkdir()
    (tmp_path / ".rune" / "config.yaml").write_text(FILE, encoding="utf-8")
    return {"HOME": str(tmp_path)}


def test_a_file_that_the_cli_left_without_contexts_is_one_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save(str(path), Contexts())
    assert settle({"RUNE_CLI_CONFIG": str(path)}).server == DEFAULT_SERVER


def test_without_anything_it_is_the_server_on_this_machine(tmp_path: Path) -> None:
    found = settle({"HOME": str(tmp_path)})
    assert (found.server, found.token) == (DEFAULT_SERVER, "")


def test_the_current_context_is_used(home: dict[str, str]) -> None:
    found = settle(home)
    assert (found.server, found.token, found.ca_file) == ("lab:7863", "lab-token", "/ca.pem")


def test_the_environment_goes_before_the_context_and_an_option_before_both(home: dict[str, str]) -> None:
    said = {**home, "RUNE_SERVER": "env:1", "RUNE_TOKEN": "env-token"}
    assert (settle(said).server, settle(said).token) == ("env:1", "env-token")
    assert settle(said, server="option:1").server == "option:1"


def test_a_contexts_token_is_sent_to_no_other_server(home: dict[str, str]) -> None:
    assert settle({**home, "RUNE_SERVER": "elsewhere:1"}).token == ""
    assert settle(home, server="elsewhere:1").token == ""
    assert settle({**home, "RUNE_SERVER": "lab:7863"}).token == "lab-token"
    assert settle(home, context="here").token == "here-token"


def test_a_token_is_not_shown(home: dict[str, str]) -> None:
    assert "lab-token" not in repr(settle(home))


def test_a_context_that_there_is_not_names_those_that_there_are(home: dict[str, str]) -> None:
    with pytest.raises(NotFound, match=r"there is no context 'prod' \(lab, here, empty\)"):
        settle(home, context="prod")


@pytest.mark.parametrize("text", ["contexts: [", "contexts: 7", "- a", "contexts: {lab: {tokn: 7}}"])
def test_a_file_that_cannot_be_read_is_named_without_its_secrets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "contexts.yaml"
    path.write_text(f"{text} # tok-secret", encoding="utf-8")
    with pytest.raises(InvalidArgument) as caught:
        settle({"RUNE_CLI_CONFIG": str(path)})
    assert str(path) in caught.value.message
    assert "tok-secret" not in caught.value.message


def test_an_authority_that_cannot_be_read_is_told(home: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="the authority's certificate cannot be read"):
        transport(settle(home))
