"""The page on users and tokens: its commands about passwords and sessions do what it says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from docs.pages import commands
from rune.api.orchestrator import admin
from runed import PATIENCE, runed

WORD = "correct horse battery"


@pytest.mark.system
@pytest.mark.timeout(60)
async def test_the_commands_of_the_page_set_a_password_log_in_and_out(tmp_path: Path) -> None:
    wanted = {("set-password",), ("login",), ("session",), ("logout",)}
    found = [
        words for words in commands("how-to/users-and-tokens.md") if wanted & {(word,) for word in words}
    ]
    assert len(found) == 4
    async with runed(tmp_path / "data") as server:
        await server.call(admin.create_user, admin.UserCreateRequest(name="ann"))
        for _, *words in found:
            asks = "set-password" in words or "login" in words
            environ = {"HOME": str(tmp_path)}
            environ |= {} if {"login", "logout"} & set(words) else {"RUNE_TOKEN": server.token}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rune.cli.main", "--server", server.grpc, *words),
                *(("--password-file", "-") if asks else ()),
                env=environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(PATIENCE):
                said, wrong = await process.communicate(f"{WORD}\n".encode())
            assert process.returncode == 0, (words, wrong.decode())
            if "session" in words:
                assert "ann" in said.decode()
