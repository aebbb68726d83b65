"""The page about secrets works as it stands: its files are written, its commands run against a real runed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from rune.core import settings
from runed import Runed, runed

PAGE = Path(__file__).parents[2] / "docs/how-to/keep-secrets.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
FILES = {text.splitlines()[0][2:]: text for kind, text in BLOCKS if kind == "yaml"}
COMMANDS = [
    line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines() if line[:2] == "$ "
]


async def ran(server: Runed, command: str, folder: Path) -> tuple[int, str]:
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "RUNE_SERVER": server.grpc,
        "RUNE_TOKEN": server.token,
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(
        command, cwd=folder, env=environ, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(FILES["api.yaml"], encoding="utf-8")
    (tmp_path / "ca.pem").write_text("certificate", encoding="utf-8")
    (tmp_path / "app.env").write_text("DEBUG=1\nMODE=fast\n", encoding="utf-8")
    said: dict[str, str] = {}
    async with runed(tmp_path / "data") as server:
        for command in COMMANDS:
            code, said[command] = await ran(server, command, tmp_path)
            assert code == 0, f"{command}: {said[command]}"
    assert said["rune secret reveal db --key password"] == "battery staple"
    assert said['rune admin registries test corp || echo "not yet"'].endswith("not yet\n")
    everything = "".join(text for command, text in said.items() if "reveal" not in command)
    assert "correct horse" not in everything
    assert "battery staple" not in everything
    assert len(COMMANDS) > 12


@pytest.mark.parametrize("text", [text for _, text in BLOCKS if "# runefile.yaml" in text])
def test_its_runefiles_are_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "runefile.yaml"
    file.write_text(text, encoding="utf-8")
    assert yaml.safe_load(text)
    assert settings.load({}, {}, file)
