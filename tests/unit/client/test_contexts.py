"""Contexts: who we are where, in a file that only its owner reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rune.cli.state import State
from rune.client.contexts import Context, Contexts, load, quick, save, text_of
from rune.errors import InvalidArgument, NotFound

TEXT = st.text(min_size=1, max_size=12).filter(str.isprintable)
HERE = Context(server="here:7863", token="t-1", namespace="prod")


@given(st.dictionaries(TEXT, st.builds(Context, server=TEXT, token=TEXT, namespace=TEXT), max_size=3))
def test_what_is_written_is_read_by_any_reader_of_yaml(by_name: dict[str, Context]) -> None:
    text = text_of(Contexts(by_name=by_name))
    plain: dict[str, dict[str, dict[str, str]]] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - nothing but text comes of it
    found = {name: entry["token"] for name, entry in (plain["contexts"] or {}).items()}
    assert found == {name: context.token for name, context in by_name.items()}


@given(st.text(alphabet="ab: \n-.#'\"/@[]{}&*", max_size=60))
def test_the_quick_reader_reads_a_file_as_yaml_does_or_leaves_it(text: str) -> None:
    found = quick(text)
    if found:
        plain = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - as above
        assert _without_empty(found) == _without_empty(plain)


def _without_empty(plain: object) -> object:
    if isinstance(plain, dict):
        entries: dict[str, object] = plain  # pyright: ignore[reportUnknownVariableType] - decoded YAML
        return {key: _without_empty(value) for key, value in entries.items()}
    return plain or {}


def test_the_file_is_for_its_owner_alone_and_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.yaml"
    contexts = Contexts(current="a b", by_name={"a b": HERE})
    save(str(path), contexts)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(str(path)) == contexts
    assert [item.name for item in path.parent.iterdir()] == ["config.yaml"]


def test_a_file_that_others_may_read_is_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    save(str(path), Contexts(current="a", by_name={"a": HERE}))
    path.chmod(0o644)
    assert State({"RUNE_CLI_CONFIG": str(path)}).contexts.current == "a"
    assert capsys.readouterr().err == f"warning: others may read the tokens in {path}: chmod 600 {path}\n"


@pytest.mark.parametrize("text", ["[1]", "nope: 1", "contexts: [a]", "contexts: {a: {servr: x}}", "a: ["])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidArgument):
        load(str(path))


def state(tmp_path: Path, environ: dict[str, str], *, server: str = "", context: str = "") -> State:
    path = tmp_path / "config.yaml"
    save(str(path), Contexts(current="a", by_name={"a": HERE}))
    return State({"RUNE_CLI_CONFIG": str(path), **environ}, server=server, context=context)


def test_an_option_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    assert state(tmp_path, {}).address == "here:7863"
    assert state(tmp_path, {"RUNE_SERVER": "env:1"}).address == "env:1"
    assert state(tmp_path, {"RUNE_SERVER": "env:1"}, server="option:1").address == "option:1"
    assert state(tmp_path, {}).namespace(None) == "prod"
    assert state(tmp_path, {"RUNE_NAMESPACE": "env"}).namespace(None) == "env"
    assert state(tmp_path, {"RUNE_NAMESPACE": "env"}).namespace("option") == "option"


def test_a_contexts_token_is_sent_to_its_own_server_alone(tmp_path: Path) -> None:
    assert state(tmp_path, {}).token == "t-1"
    assert state(tmp_path, {"RUNE_SERVER": "elsewhere:1"}).token == ""
    assert state(tmp_path, {"RUNE_TOKEN": "said"}, server="elsewhere:1").token == "said"


def test_a_context_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no context 'b' \(a\)"):
        _ = state(tmp_path, {}, context="b").address


def test_a_context_shows_no_token_when_it_is_printed() -> None:
    assert "t-1" not in repr(Contexts(by_name={"a": HERE}))


def test_what_a_context_allows_holds_for_its_own_server_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save(str(path), Contexts(current="a", by_name={"a": Context(server="here:7863", insecure="true")}))
    environ = {"RUNE_CLI_CONFIG": str(path)}
    assert load(str(path)).by_name["a"].insecure == "true"
    assert State(environ).insecure
    assert not State(environ, server="elsewhere:1").insecure
    assert State({**environ, "RUNE_INSECURE": "true"}, server="elsewhere:1").insecure
    assert State(environ, server="elsewhere:1", insecure=True).insecure


def test_certificates_come_from_the_environment_or_the_context(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save(
        str(path), Contexts(current="a", by_name={"a": Context(cert_file="/c", key_file="/k", ca_file="/a")})
    )
    environ = {"RUNE_CLI_CONFIG": str(path)}
    found = State(environ)
    assert (found.cert_file, found.key_file, found.ca_file) == ("/c", "/k", "/a")
    assert State({**environ, "RUNE_CERT_FILE": "/other"}).cert_file == "/other"
