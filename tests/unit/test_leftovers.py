"""The watch over what tests leave behind sees each kind of thing, and is quiet when there is nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import leftovers


@pytest.fixture
def scratch() -> Path:
    return Path(tempfile.gettempdir())


def test_a_quiet_test_leaves_nothing(scratch: Path) -> None:
    assert leftovers.since(leftovers.look(scratch), scratch) == []


def test_a_thread_that_goes_on_is_found(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "DEADLINE", 0.01)
    before, end = leftovers.look(scratch), threading.Event()
    thread = threading.Thread(target=end.wait, name="goes-on")
    thread.start()
    found = leftovers.since(before, scratch)
    end.set()
    thread.join()
    assert found == ["thread goes-on"]


def test_a_process_that_goes_on_is_found_and_ended(scratch: Path) -> None:
    before = leftovers.look(scratch)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        (found,) = leftovers.since(before, scratch)
        assert found.startswith(f"process {child.pid} (")
    assert leftovers.since(before, scratch) == []


def test_a_temporary_file_is_found(scratch: Path) -> None:
    before = leftovers.look(scratch)
    with tempfile.NamedTemporaryFile() as file:
        assert leftovers.since(before, scratch) == [f"file {file.name}"]


def test_a_daemon_that_has_left_its_parent_is_found_by_its_folder(scratch: Path) -> None:
    folder = str(scratch / "home")
    with subprocess.Popen([sys.executable, "-c", "input()", folder], stdin=subprocess.PIPE) as child:
        (found,) = leftovers.end_strays(folder)
        assert found.startswith(f"{child.pid} (")
    assert leftovers.end_strays(folder) == []
