"""What every test gets: hypothesis profiles, tools that may be missing, and a house left as it was found."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import engines
import leftovers
import machine

UNIT = Path(__file__).parent / "unit"

hypothesis.settings.register_profile("dev", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_sessionstart() -> None:
    """Says that no event loop is set, or looptime would make one for the first plain test and leave it."""
    asyncio.set_event_loop(None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first and unit tests last: a long one at the end would leave workers idle.

    Those with Docker come after those with a browser, which drops its connections when a network is made.
    """
    items.sort(key=lambda item: (item.path.is_relative_to(UNIT), wants_docker(item), -allowed(item)))


def wants_docker(item: pytest.Item) -> bool:
    """It is marked so."""
    return any("docker" in mark.args for mark in item.iter_markers("requires"))


def allowed(item: pytest.Item) -> float:
    """The seconds that a test is allowed by its mark; without one it is short."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0.0


def pytest_collection_finish() -> None:
    """What was collected stays until the end; to look through it for garbage again and again takes long."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked `requires("docker")` where that cannot be had, with the remedy in the reason."""
    for mark in item.iter_markers("requires"):
        for tool in mark.args:
            if reason := machine.missing(str(tool)):
                pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts what was skipped by reason, so that nobody takes a skip for a pass."""
    reports: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    reasons = Counter(skip_reason(report) for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped because: {count} × {reason}", yellow=True)


def skip_reason(report: pytest.TestReport) -> str:
    """The words after "Skipped:"; the report keeps them as the last part of (file, line, words)."""
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ")


@pytest.fixture(scope="session", autouse=True)
def _no_loop_by_itself() -> None:
    """Looptime asks for the current loop even around a sync test, and would leave the one it gets open."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session", autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Temporary files of the whole session go to one short folder; what runs in it at the end is killed.

    Short, because the path of a Unix socket may have 107 bytes.
    """
    basetemp = str(tmp_path_factory.getbasetemp())  # made now, where it always is
    before, outer = tempfile.tempdir, os.environ.get("TMPDIR")
    folder = tempfile.mkdtemp(prefix="rune-")
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    yield Path(folder)
    strays = leftovers.end_strays(folder, basetemp)
    tempfile.tempdir = before
    if outer is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = outer
    shutil.rmtree(folder, ignore_errors=True)
    assert not strays, f"processes outlived the tests that started them: {strays}"


@pytest.fixture(scope="session")
def docker_engine(_scratch: Path) -> Iterator[engines.Engine]:
    """A Docker Engine of our own, started when the first test wants one; skips where none can run."""
    if reason := machine.missing("docker"):
        pytest.skip(reason)
    try:
        engine = engines.begin()
    except RuntimeError as error:
        pytest.skip(f"needs docker ({error})")
    yield engine
    engine.end()


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(_scratch: Path) -> Iterator[None]:
    """Fails a test that leaves a thread, a process or a temporary file; wider fixtures are not meant."""
    before = leftovers.look(_scratch)
    yield
    left = leftovers.since(before, _scratch)
    assert not left, f"the test left behind: {', '.join(left)}"
