"""How a command ends when its output, its input or its user is not as usual."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from unit.client.plane import TOKEN
from unit.client.served import Served

pytestmark = pytest.mark.system
RUNE = [sys.executable, "-m", "rune.cli.main"]
GOOD = b"service: {name: web, process: {command: sleep}}\n"


def ended(
    *args: str | bytes, given: bytes = b"", stdout: int = subprocess.PIPE, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """What came of the command."""
    return subprocess.run(
        [*RUNE, *args], input=given, stdout=stdout, stderr=subprocess.PIPE, check=False,
        env={"HOME": "/nonexistent", **environ},
    )  # fmt: skip


def test_a_reader_that_has_gone_ends_a_command_like_any_other_with_141() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = ended("version", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_told_in_a_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = ended("version", stdout=full.fileno())
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


def test_a_closed_stdout_is_no_failure() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *RUNE, "version"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_letter_that_the_terminal_does_not_know_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "日本.yaml"
    file.write_bytes(GOOD.replace(b"process", b"prozess"))
    done = ended("lint", str(file), PYTHONIOENCODING="latin-1", PYTHONUTF8="1")
    assert done.returncode == 6
    assert b"??.yaml:1:22" in done.stdout


def test_what_is_not_utf8_is_refused_before_a_server_sees_it(served: Served) -> None:
    done = ended("get", "service", b"caf\xe9", RUNE_SERVER=served.address, RUNE_TOKEN=TOKEN)
    assert done.returncode == 6
    assert b"is not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_file_whose_name_is_not_utf8_is_scanned_and_told_of_in_json(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("hello", encoding="utf-8")
    done = ended("scan", str(tmp_path), "-o", "json")
    assert (done.returncode, b'"files": 1' in done.stdout) == (0, True)


def test_a_pipe_is_read_like_a_file() -> None:
    done = ended("lint", "/dev/stdin", given=GOOD)
    assert (done.returncode, done.stderr) == (0, b"1 files, 1 resources, 0 errors, 0 warnings\n")


def test_a_device_without_end_is_too_large() -> None:
    done = ended("lint", "/dev/zero")
    assert (done.returncode, b"larger than" in done.stdout) == (6, True)


def test_an_interrupt_while_the_commands_are_imported_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "rune_slow.py").write_text(
        "import os, signal, sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'rune.cli.app':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    begun = "import rune_slow; from rune.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", begun], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_server_whose_port_is_taken_says_so_in_a_line(tmp_path: Path, door: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0", door: f"127.0.0.1:{taken.getsockname()[1]}"}
        done = ended(
            "dev", "--grpc-addr", at["grpc"], "--http-addr", at["http"],
            TMPDIR=str(tmp_path), PATH=os.environ["PATH"],
        )  # fmt: skip
    assert done.returncode == 1
    assert f"on {at[door]}".encode() in done.stderr
    assert b"is another server there?" in done.stderr
    assert b"Traceback" not in done.stderr
