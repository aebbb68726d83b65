"""The page on scaling by load: what it says to type works, on a server of its own."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from runed import PATIENCE, runed

PAGE = Path(__file__).parents[2] / "docs/how-to/scale-by-load.md"


@pytest.mark.system
async def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    file, commands = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("yaml", "sh"))
    (tmp_path / "web.yaml").write_text(file, encoding="utf-8")
    async with runed(tmp_path / "data") as server:
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euc", commands),
            cwd=tmp_path,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "RUNE_SERVER": server.grpc,
                "RUNE_TOKEN": server.token,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE * 2):
            output, _ = await shell.communicate()
    said = output.decode()
    assert shell.returncode == 0, said
    assert "2-10 cpu 70" in said
    assert "autoscale: scaled to 4 by hand: autoscale goes on at " in said
