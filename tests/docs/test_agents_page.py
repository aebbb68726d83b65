"""The page about running agents runs as it stands: its files are written, its commands are given."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from docs.pages import DOCS, commands
from runed import runed

PAGE = "how-to/run-agents.md"


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_every_command_on_the_page_does_what_it_says(tmp_path: Path) -> None:
    agent, policy = (
        part.split("```")[0] for part in (DOCS / PAGE).read_text(encoding="utf-8").split("```yaml\n")[1:3]
    )
    script = tmp_path / "guarded_agent.py"
    shutil.copy(DOCS.parent / "examples" / "guarded_agent.py", script)
    (tmp_path / "mail").mkdir()
    placed = agent.replace("python3,", f"{sys.executable},").replace("guarded_agent.py", str(script))
    (tmp_path / "agent.yaml").write_text(placed.replace("MAILBOX: mail", f"MAILBOX: {tmp_path}/mail"))
    (tmp_path / "payments.yaml").write_text(policy, encoding="utf-8")
    async with runed(tmp_path / "data") as server:
        environ = {**os.environ, "RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token}
        said: dict[str, str] = {}
        for words in commands(PAGE):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rune.cli.main", *words[1:], cwd=tmp_path, env=environ,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert process.returncode == 0, f"{words}\n{out.decode()}"
            said[" ".join(words[1:4])] = out.decode()
    assert "service: default/mail-agent" in said["agents get mail-agent"]
    assert "odd answers" in said["get service mail-agent"]
    assert "on duty as mail-agent" in said["logs mail-agent"]
    assert "odd answers" in said["admin audit list"]
