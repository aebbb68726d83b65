"""`rune scan` reads texts in pieces, finds threats in their places, and says so in three forms."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attacks import KEY, ORDER
from rune.cli import texts
from unit.cli.terminal import Ran, shell


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(*args: str, **env: str) -> Ran:
        return shell(monkeypatch, "127.0.0.1:1", "scan", *args, env=env)

    return run


def found(ran: Ran) -> list[dict[str, Any]]:
    return json.loads(ran.out)["findings"]


def test_a_clean_text_is_nothing(scan: Any) -> None:
    ran = scan("--text", "What is new in the north?")
    assert (ran.code, ran.out) == (0, "")
    assert "1 texts read, 0 skipped that hold no text, 0 findings" in ran.err


def test_a_finding_has_its_place_and_no_text(scan: Any, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"one\ntwo\n  {ORDER}\nkey: {KEY}\n", encoding="utf-8")
    ran = scan("a.md", "-o", "json")
    assert ran.code == 1
    assert {(each["line"], each["column"]) for each in found(ran)} >= {(3, 3), (4, 6)}
    token = next(each for each in found(ran) if each["rule"] == "github-token")
    assert (token["endLine"], token["endColumn"], token["severity"]) == (4, 6 + len(KEY), "critical")
    assert KEY not in ran.out
    assert "system prompt now" not in ran.out


def test_what_a_text_is_decides_what_it_must_not_hold(scan: Any) -> None:
    assert scan("--text", f"key: {KEY}", "--as", "chat").code == 0
    assert scan("--text", f"key: {KEY}", "--as", "output").code == 1
    assert scan("--text", ORDER, "--as", "tool").code == 1


def test_sarif_is_what_code_hosts_read(scan: Any) -> None:
    ran = scan("--text", ORDER, "-o", "sarif")
    log = json.loads(ran.out)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == rules
    assert run["results"][0]["level"] == "error"
    region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert region["startLine"] == 1
    assert region["endColumn"] > region["startColumn"]


def test_a_policy_judges_as_well(scan: Any, tmp_path: Path) -> None:
    policy = (
        'version: "1.0"\nname: tidy\nrules:\n'
        "  - {name: no-mail, type: data_protection, patterns: [email], direction: any, action: block}\n"
    )
    (tmp_path / "p.yaml").write_text(policy, encoding="utf-8")
    assert scan("--text", "I am bob@example.com").code == 0
    ran = scan("--text", "I am bob@example.com", "--policy", "p.yaml", "-o", "json")
    assert (ran.code, {each["rule"] for each in found(ran)}) == (1, {"tidy/no-mail"})


def test_a_bad_policy_is_named(scan: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: 3\n", encoding="utf-8")
    ran = scan("--text", "x", "--policy", "p.yaml")
    assert ran.code == 6
    assert "p.yaml" in ran.err


def test_the_environment_of_an_agent_changes_nothing(scan: Any) -> None:
    assert scan("--text", "hello", RUNE_EVENTS_ENABLED="1", RUNE_ON_BLOCK="raise").code == 0


def test_what_git_ignores_is_left_out_and_links_are_not_followed(scan: Any, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("hidden.md\n", encoding="utf-8")
    (tmp_path / "hidden.md").write_text(ORDER, encoding="utf-8")
    (tmp_path / "link.md").symlink_to(tmp_path / "hidden.md")
    assert scan(".").code == 0
    assert scan(".", "--no-ignore").code == 1
    assert scan("hidden.md").code == 1


def test_elsewhere_folders_of_tools_are_left_out(scan: Any, tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules/a.md").write_text(ORDER, encoding="utf-8")
    assert scan(".").code == 0
    assert scan(".", "--no-ignore").code == 1


def test_what_holds_no_text_is_skipped_and_what_is_unreadable_is_said(scan: Any, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0\1" + KEY.encode())
    assert "0 texts read, 1 skipped" in scan("a.bin").err
    ran = scan("nowhere.md")
    assert (ran.code, ran.err) == (6, "error: there is no file or folder nowhere.md\n")


def test_a_file_that_vanishes_is_told_by_its_exit_code(
    scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(_target: str, *, ignore: bool) -> list[Path]:
        return [tmp_path / "gone.md"]

    monkeypatch.setattr("rune.cli.scan.files", vanished)
    ran = scan(".")
    assert ran.code == 6
    assert "cannot be read" in ran.err


def test_nothing_to_scan_is_a_mistake(scan: Any) -> None:
    ran = scan()
    assert ran.code == 6
    assert "say what to scan" in ran.err


def test_stdin_is_read(scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ORDER.encode())))
    ran = scan("-", "-o", "json")
    assert {each["file"] for each in found(ran)} == {"<stdin>"}


@pytest.mark.parametrize("at", [0, 5_000, 9_990, 10_000, 31_000])
def test_a_threat_is_found_once_wherever_pieces_end(
    scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(texts, "PIECE", 10_000)
    lines = ["a quiet line of words", ""] * 1_500
    text = "\n".join(lines)
    (tmp_path / "long.md").write_text(f"{text[:at]}\n{KEY}\n{text[at:]}", encoding="utf-8")
    (one,) = found(scan("long.md", "-o", "json"))
    assert one["line"] == text[:at].count("\n") + 2
    assert one["column"] == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_are_read_whole_in_every_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(texts, "PIECE", 9_001)
    text = "".join(f"ü line {number}\n" for number in range(2_000))
    (tmp_path / "a").write_text(text, encoding=encoding)
    read, lines = "", text.split("\n")
    for piece in texts.pieces_of(tmp_path / "a"):
        assert piece.text.split("\n")[0] == lines[piece.line - 1][piece.column - 1 :]
        assert len(piece.text) <= 9_001 + texts.OVERLAP
        read = text[: len(text)] if text.endswith(piece.text) else read
    assert read == text


def test_too_many_findings_are_cut_and_said(scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rune.cli.scan.MOST_FINDINGS", 1)
    ran = scan("--text", ORDER, "-o", "json")
    assert json.loads(ran.out)["truncated"]
    assert len(found(ran)) == 1
