"""What the page about isolation shows is what happens."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from runed import runed

PAGE = (Path(__file__).parents[2] / "docs/how-to/isolate-a-process.md").read_text(encoding="utf-8")
SERVICE = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "service:" in block)
RUNEFILE = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "runner:" in block)

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(60),
    pytest.mark.requires("root", "bubblewrap", "libseccomp", "limits"),
]


async def rune(token: str, server: str, *words: str) -> tuple[int, str]:
    """The exit code of a command and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rune.cli.main", *words,
        env={**os.environ, "RUNE_TOKEN": token, "RUNE_SERVER": server, "RUNE_CONFIG": "/nonexistent/config"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_the_service_of_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(SERVICE, encoding="utf-8")
    async with runed(tmp_path / "data") as server:
        code, said = await rune(server.token, server.grpc, "health", "node", "--checks")
        assert code == 0, said
        assert "process sandbox: can be enforced" in said
        code, said = await rune(server.token, server.grpc, "cast", str(file))
        assert code == 0, said
        await server.lines("agent", 3)
        code, said = await rune(server.token, server.grpc, "logs", "agent")
        assert code == 0, said
    assert all(word in said for word in ("65534", "Read-only file system", "done")), said


async def test_the_runefile_of_the_page_is_strict(tmp_path: Path) -> None:
    runefile, file = tmp_path / "runefile.yaml", tmp_path / "plain.yaml"
    runefile.write_text(RUNEFILE, encoding="utf-8")
    file.write_text("service: {name: plain, process: {command: /bin/true}}\n", encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(runefile)) as server:
        code, said = await rune(server.token, server.grpc, "cast", str(file))
    assert code != 0
    assert "set securityContext.user" in said
