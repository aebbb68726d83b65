"""What a command imports is what it pays for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unit.client.plane import TOKEN
from unit.client.served import Served

LOADED = """
import os, sys
def end(code):
    print(code, *[name for name in NAMES if name in sys.modules])
    sys.stdout.flush()
    end.real(code)
end.real, os._exit = os._exit, end
sys.argv = ARGV
from rune.cli.main import main
main()
"""


def loaded(argv: list[str], names: list[str], **environ: str) -> list[str]:
    """The exit code, and which of the modules were imported."""
    program = LOADED.replace("NAMES", repr(names)).replace("ARGV", repr(argv))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.system
def test_the_version_needs_neither_a_client_nor_the_table() -> None:
    names = ["grpc", "msgspec", "rune.api", "yaml", "rich", "httpx", "asyncio"]
    assert loaded(["rune", "version"], names) == ["0"]


@pytest.mark.system
def test_a_list_needs_no_yaml_no_http_and_only_its_own_noun(served: Served) -> None:
    names = [
        "yaml",
        "rich",
        "httpx",
        "random",
        "grpc.aio._channel",
        "rune.api.table",
        "rune.api.orchestrator.admin",
    ]
    environ = {"RUNE_SERVER": served.address, "RUNE_TOKEN": TOKEN}
    assert loaded(["rune", "get", "services"], names, **environ) == ["0"]


@pytest.mark.system
def test_what_a_file_declares_is_read_without_an_event_loop(tmp_path: Path) -> None:
    names = ["asyncio", "dataclasses", "pathlib", "grpc", "rich", "rune.cli.rollout"]
    (tmp_path / "web.yaml").write_text("service: {name: web, process: {command: /bin/sleep}}\n")
    assert loaded(["rune", "cast", str(tmp_path / "web.yaml"), "--render"], names) == ["0"]


@pytest.mark.system
def test_stdin_reaches_the_command_and_its_output_comes_back_whole(served: Served) -> None:
    data = bytes(range(256)) * 4000
    environ = {"HOME": "/nonexistent", "RUNE_SERVER": served.address, "RUNE_TOKEN": TOKEN}
    done = subprocess.run(
        [sys.executable, "-m", "rune.cli.main", "exec", "web", "cat"],
        input=data, env=environ, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")
