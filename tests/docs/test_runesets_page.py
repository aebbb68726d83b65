"""The page on runesets does what it says, command by command, with a real runed; so do the examples."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from docs.pages import DOCS, commands
from rune.api.orchestrator.services import ServiceStatus
from runed import PATIENCE, Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
PAGE = "how-to/package-services-as-runesets.md"
EXAMPLES = DOCS.parent / "examples"
PASSWORD = "not-to-be-shown"


def written(folder: Path) -> None:
    """The runeset of the page, as files."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(yaml|yml)\n(.*?)```", text, re.DOTALL))
    template = re.search(r"```text\n(configmap:.*?)```", text, re.DOTALL)
    assert template
    (folder / "shop/templates").mkdir(parents=True)
    (folder / "shop/runeset.yaml").write_text(blocks["yaml"])
    (folder / "shop/values.yaml").write_text(blocks["yml"])
    (folder / "shop/templates/shop.yaml.tmpl").write_text(template[1])
    (folder / "password.txt").write_text(PASSWORD)


async def rune(server: Runed, folder: Path, *words: str) -> str:
    """A command as a shell would run it; what it said."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RUNE_")}
    env = {**kept, "HOME": str(folder), "RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token}
    command = [sys.executable, "-m", "rune.cli.main", *words]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


async def test_the_page_on_runesets(tmp_path: Path) -> None:
    written(tmp_path)
    async with runed(tmp_path / "data") as server:
        said = {" ".join(words): await rune(server, tmp_path, *words[1:]) for words in commands(PAGE)}
    assert len(said) == 8
    assert PASSWORD not in "".join(said.values())
    assert next(text for line, text in said.items() if "--render" in line).count("***") == 1
    assert next(text for line, text in said.items() if "--diff" in line).count("+  MOTD: Hello") == 1
    assert "sha256:" in said["rune pack shop --sha256"]


async def test_the_example_with_two_services_counts_its_visits(tmp_path: Path) -> None:
    text = (EXAMPLES / "web-with-database/app.yaml").read_text(encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (tmp_path / "app.yaml").write_text(text.replace("18080", port))
    async with runed(tmp_path / "data") as server:
        await rune(server, tmp_path, "cast", "app.yaml")
        await server.until("web", lambda found: found.status is ServiceStatus.RUNNING)
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            first, second = [(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(2)]
    assert (first, second) == ("visit 1\n", "visit 2\n")
