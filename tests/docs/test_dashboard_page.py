"""The page on the dashboard: its command gives a link that logs in."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import httpx
import pytest

from browser.pictures import ALSO_DARK, name, templates
from docs.pages import DOCS, commands
from runed import PATIENCE, runed


@pytest.mark.system
async def test_the_command_of_the_page_gives_a_link_that_works(tmp_path: Path) -> None:
    ((program, *words),) = commands("how-to/use-the-dashboard.md")
    assert program == "rune"
    async with runed(tmp_path / "data") as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rune.cli.main", *words, "--url", f"http://{server.http}"),
            env={"HOME": str(tmp_path), "RUNE_TOKEN": server.token},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
        at, code = said.decode().strip().split("#")
        origin = f"http://{server.http}"
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(at, data={"code": code}, headers={"origin": origin})
            assert answer.status_code == 303
            assert (await http.get(origin)).status_code == 200


def test_every_picture_that_the_docs_show_is_one_that_the_browser_tests_take() -> None:
    text = (DOCS / "how-to/the-dashboard-in-pictures.md").read_text(encoding="utf-8")
    shown = set(re.findall(r'data="../../pictures/(?:desktop|phone)/([^"]+)"', text))
    taken = {name(template) for template in templates()}
    taken |= {name(template, is_dark=True) for template in ALSO_DARK}
    assert shown
    assert shown <= taken
