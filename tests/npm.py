"""Packages of npm for tests that talk to programs of others: installed once, into a scratch folder."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

SECONDS = 150
PACKAGES = (
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
)


def installed(shared: Path) -> Path:
    """A folder of this one with the packages in it, which the first worker installs and others wait for.

    Skips the test, and says why, where they are not to be had.
    """
    folder = shared / "npm"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _install(folder)
            (folder / "done").touch()
    return folder


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm (apt-get install nodejs npm)")
    (folder / "package.json").write_text("{}", encoding="utf-8")
    command = [npm, "install", "--no-fund", "--no-audit", "--ignore-scripts", "--silent", *PACKAGES]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install the packages within {SECONDS} seconds")
    if done.returncode:
        pytest.skip(f"npm cannot install the packages: {done.stderr.strip()[-300:]}")


def program(folder: Path, name: str) -> str:
    """The path of a package's program."""
    return str(folder / "node_modules" / ".bin" / name)
