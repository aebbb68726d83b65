"""Packages of npm for tests that talk to programs of others: installed once a session, into a scratch
folder.
"""

from __future__ import annotations

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


def installed(folder: Path) -> Path:
    """The folder with the packages in it; skips the test, and says why, where they are not to be had."""
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
    return folder


def program(folder: Path, name: str) -> str:
    """The path of a package's program."""
    return str(folder / "node_modules" / ".bin" / name)
