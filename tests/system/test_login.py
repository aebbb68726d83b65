"""`rune login --user`: a session that goes on while commands are used, and ends when it should."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from commands import at_home
from promises import promise
from rune.api.orchestrator import admin, sessions
from rune.client.contexts import load, save
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

WORD = "correct horse battery"


async def ann(server: Runed, home: Path) -> None:
    """A user with a password, who is logged in at the command line."""
    at = ("--server", server.grpc)
    await server.call(admin.create_user, admin.UserCreateRequest(name="ann"))
    words = (*at, "admin", "user", "set-password", "ann", "--password-file", "-")
    made = await at_home(home, *words, given=f"{WORD}\n", token=server.token)
    assert made.code == 0, made.err
    said = await at_home(
        home, "login", "--server", server.grpc, "--user", "ann", "--password-file", "-", given=f"{WORD}\n"
    )
    assert said.code == 0, said.err
    assert "as ann" in said.out
    assert WORD not in said.out + said.err


@promise("login.cli")
async def test_a_session_goes_on_with_the_commands_and_ends_with_logout(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        await ann(server, tmp_path)
        file = tmp_path / ".rune/config.yaml"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        before = load(str(file))
        assert "***" in (await at_home(tmp_path, "config", "view")).out
        assert before.chosen().refresh not in (await at_home(tmp_path, "config", "view")).out
        soon = replace(before.chosen(), expires=str(int(time.time()) + 5))
        save(str(file), before.having(before.current, soon))
        both = await asyncio.gather(at_home(tmp_path, "whoami"), at_home(tmp_path, "whoami"))
        assert [each.code for each in both] == [0, 0], both
        after = load(str(file)).chosen()
        assert {after.token, after.refresh}.isdisjoint((before.chosen().token, before.chosen().refresh))
        assert (await at_home(tmp_path, "logout")).code == 0
        assert not load(str(file)).chosen().token
        everybody = sessions.ListSessionsRequest(everybody=True)
        assert not (await server.call(sessions.list_, everybody)).sessions


async def test_sessions_are_listed_and_revoked_from_the_command_line(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        await ann(server, tmp_path)
        listed = await at_home(tmp_path, "admin", "session", "list")
        (found,) = (await server.call(sessions.list_, sessions.ListSessionsRequest(everybody=True))).sessions
        assert found.id in listed.out
        revoked = await at_home(tmp_path, "admin", "session", "revoke", found.id, "--yes")
        assert revoked.code == 0, revoked.err
        refused = await at_home(tmp_path, "whoami")
        assert refused.code != 0
        assert "rune login" in refused.err


async def test_a_session_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        await ann(server, tmp_path)
        await server.end()
        await server.start("--dev")
        assert "ann" in (await at_home(tmp_path, "whoami")).out


async def test_rune_passwd_changes_the_own_password_and_the_context_goes_on(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        await ann(server, tmp_path)
        old, new = tmp_path / "old", tmp_path / "new"
        old.write_text(f"{WORD}\n", encoding="utf-8")
        new.write_text("battery staple horse\n", encoding="utf-8")
        words = ("passwd", "--old-file", str(old), "--new-file", str(new))
        said = await at_home(tmp_path, *words)
        assert (said.code, said.out) == (0, "password changed\n"), said.err
        assert "ann" in (await at_home(tmp_path, "whoami")).out
        again = await at_home(tmp_path, *words)
        assert again.code != 0
        assert "is wrong" in again.err


async def test_a_password_travels_to_no_other_machine_unencrypted(tmp_path: Path) -> None:
    words = ("login", "--server", "192.0.2.1:7863", "--user", "ann", "--password-file", "-")
    refused = await at_home(tmp_path, *words, given=f"{WORD}\n")
    assert refused.code != 0
    assert "unencrypted" in refused.err
