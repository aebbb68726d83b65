"""On a real terminal: raw while the inner command runs, measured, redrawn, and as it was afterwards."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from rune.api.orchestrator.exec import ExecRequest, TerminalSize
from unit.client.plane import TOKEN
from unit.client.served import Served

SECONDS = 10.0


def on_terminal(served: Served, *args: str, typed: bytes = b"") -> tuple[int, bytes, bool]:
    """The exit code, what the terminal showed, and whether its settings are as they were."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (30, 100))
    before = termios.tcgetattr(theirs)
    environ = {"HOME": "/nonexistent", "TERM": "xterm", "RUNE_SERVER": served.address, "RUNE_TOKEN": TOKEN}
    process = subprocess.Popen(
        [sys.executable, "-m", "rune.cli.main", *args],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.write(ours, typed)
    shown = b""
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], SECONDS / 100)[0]:
            shown += os.read(ours, 65536)
    same = termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
    return process.wait(SECONDS), shown, same


@pytest.mark.system
def test_exec_gives_the_command_a_terminal_of_this_size_and_puts_ours_back(served: Served) -> None:
    code, shown, same = on_terminal(served, "exec", "web", "echo", "hi")
    assert (code, same) == (0, True)
    assert b"echo hi" in shown
    (ask,) = [ask for what, ask in served.plane.asked if what == "exec"]
    assert isinstance(ask, ExecRequest)
    assert ask.init
    assert (ask.init.tty, ask.init.terminal_size) == (True, TerminalSize(width=100, height=30))


@pytest.mark.system
def test_a_rollout_is_drawn_over_itself_and_counts_what_is_done(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "many.yaml"
    rows = [f"- {{name: s-{n}, command: [sleep]}}" for n in range(50)]
    file.write_text("services:\n" + "\n".join(rows), encoding="utf-8")
    code, shown, _ = on_terminal(served, "cast", str(file))
    assert code == 0
    assert b"50 of 50 done" in shown
    assert shown.count(b"\n") <= 29


@pytest.mark.system
def test_delete_asks_and_takes_a_no(served: Served) -> None:
    code, shown, _ = on_terminal(served, "delete", "web", typed=b"n\n")
    assert (code, b"Delete service web in namespace default?" in shown) == (130, True)
    assert not [what for what, _ in served.plane.asked if what == "delete"]
