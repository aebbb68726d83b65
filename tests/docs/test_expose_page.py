"""The page on exposing services: what it says to type works, on a server of its own."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from rune.manifest.documents import read
from rune.manifest.lint import check
from runed import PATIENCE, runed
from unit.orchestrator.traffic.street import free_port

PAGE = Path(__file__).parents[2] / "docs/how-to/expose-a-service.md"


@pytest.mark.system
async def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8").replace("8088", str(free_port()))
    file, commands = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("yaml", "sh"))
    (tmp_path / "web.yaml").write_text(file, encoding="utf-8")
    async with runed(tmp_path / "data") as server:
        paths = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euc", commands),
            cwd=tmp_path,
            env={
                "PATH": paths,
                "HOME": str(tmp_path),
                "RUNE_SERVER": server.grpc,
                "RUNE_TOKEN": server.token,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE * 2):
            output, _ = await shell.communicate()
        assert shell.returncode == 0, output.decode()
        service = await server.service("web")
        assert service.address in output.decode()
        assert service.exposure
        assert service.exposure.address in output.decode()


def test_every_exposure_of_the_page_is_one() -> None:
    service, *exposures = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    start = service.index("  expose:")
    assert len(exposures) > 1
    for expose in exposures:
        indented = "".join(f"  {line}\n" for line in expose.splitlines())
        assert not check(read(service[:start] + indented, name="page"))
