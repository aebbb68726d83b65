"""The Go program of the published contract, on generated code, against a real runed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from machine import go
from promises import promise
from runed import runed

ROOT = Path(__file__).parents[2]
PATIENCE = 280.0
"""Seconds: the first build compiles gRPC."""
AWAY = ("proxy.golang.org", "sum.golang.org", "dial tcp", "no such host", "connection refused")


@promise("clients.go")
@pytest.mark.requires("go")
@pytest.mark.system
@pytest.mark.timeout(3 * PATIENCE)
async def test_a_go_program_on_generated_code_creates_follows_lists_and_deletes(tmp_path: Path) -> None:
    folder = tmp_path / "go-client"
    shutil.copytree(ROOT / "examples/go-client", folder, ignore=shutil.ignore_patterns("pkg"))
    built(folder, ["./generate"])
    built(folder, [str(go()), "build", "-o", "client", "."])
    async with runed(tmp_path / "data") as server:
        env = {"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token}
        done = await asyncio.to_thread(
            subprocess.run,
            [folder / "client"],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "default/hello-from-go SERVICE_STATUS_RUNNING" in done.stdout


def built(folder: Path, command: list[str]) -> None:
    """Run a step of the build; where the modules are out of reach the test is skipped and says so."""
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode and any(word in done.stderr for word in AWAY):
        pytest.skip(f"needs the modules of the Go proxy: {done.stderr.splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr


def environment() -> Mapping[str, str]:
    """Where Go and protoc are, and no more processors than one."""
    path = os.pathsep.join(
        [str(Path(str(go())).parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    return {**os.environ, "PATH": path, "PYTHON": sys.executable, "API": str(ROOT / "api"), "GOMAXPROCS": "1"}
