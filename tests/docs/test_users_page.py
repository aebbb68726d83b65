"""The page on users and tokens: its commands about passwords and sessions do what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import at_home
from docs.pages import commands
from rune.api.orchestrator import admin
from runed import runed

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
            said = await at_home(
                tmp_path,
                *("--server", server.grpc, *words, *(("--password-file", "-") if asks else ())),
                given=f"{WORD}\n",
                token="" if {"login", "logout"} & set(words) else server.token,
            )
            assert said.code == 0, (words, said.err)
            if "session" in words:
                assert "ann" in said.out
