"""`rune dev` and its child: ready, told to end, gone with everything it made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FAKE = """
import json, os, signal, sys
fd = int(sys.argv[sys.argv.index("--ready-fd") + 1])
data = sys.argv[sys.argv.index("--data-dir") + 1]
os.makedirs(data)
MODE
signal.signal(signal.SIGTERM, lambda *_: sys.exit(open(os.environ["ENDED"], "w").write("ended") and 0))
ready = {"grpc": "127.0.0.1:1", "http": "127.0.0.1:2", "token": "t", "data_dir": data, "pid": os.getpid()}
os.write(fd, json.dumps(ready).encode() + b"\\n")
while True:
    signal.pause()
"""


def start(folder: Path, mode: str = "") -> subprocess.Popen[str]:
    """`rune dev --json` with a stand-in for runed."""
    package = folder / "stand_in"
    package.mkdir()
    (package / "fake.py").write_text(FAKE.replace("MODE", mode), encoding="utf-8")
    program = (
        "import subprocess, sys\n"
        "popen = subprocess.Popen\n"
        f"fake = [sys.executable, {str(package / 'fake.py')!r}]\n"
        "subprocess.Popen = lambda command, **more: popen([*fake, *command[3:]], **more)\n"
        "sys.argv = ['rune', 'dev', '--json']\n"
        "from rune.cli.main import main\n"
        "main()\n"
    )
    scratch = folder / "tmp"
    scratch.mkdir()
    environ = {**os.environ, "TMPDIR": str(scratch), "ENDED": str(folder / "ended")}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_says_where_it_listens_and_leaves_nothing_when_it_is_told_to_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = start(tmp_path)
    assert process.stdout
    ready = json.loads(process.stdout.readline())
    assert list(ready) == ["grpc", "http", "token", "api_key", "data_dir", "pid"]
    assert Path(ready["data_dir"]).is_dir()
    process.send_signal(number)
    assert process.wait(10) == 0
    process.communicate()
    assert (tmp_path / "ended").read_text(encoding="utf-8") == "ended"
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.system
def test_a_daemon_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = start(tmp_path, "print('the port is taken'); sys.exit(3)")
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "runed ended at once:\nthe port is taken" in err
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.system
def test_a_daemon_that_dies_later_ends_the_command_with_its_exit_code(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout
    os.kill(json.loads(process.stdout.readline())["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "exit code -9" in err
