"""Sessions that are over in a minute: `rune` and `rune-mcp` go on with them, against a real server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mcp import Client as Assistant
from mcp import StdioServerParameters
from msgspec.structs import replace

from commands import at_home
from promises import promise
from rune.api.orchestrator import admin, sessions
from rune.api.orchestrator.admin import UserCreateRequest
from rune.client.contexts import Context, load, save
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60), promise("login.cli")]
WORD = "correct horse battery"
SHORT = "auth: {session-access-ttl: 1m, session-grace-window: 0s}\n"
"""As short as a server allows: a token is over soon from its first second, so each use trades it."""


async def rune(home: Path, *words: str, given: str = "", token: str = "") -> tuple[int, str]:
    """A command with a home of its own: its exit code, and all that it says."""
    done = await at_home(home, *words, given=given, token=token)
    return done.code, done.out + done.err


async def log_in(server: Runed, home: Path) -> Path:
    """A user with a session at the command line; the file that it is kept in."""
    await server.call(admin.create_user, UserCreateRequest(name="ann"))
    words = ("--server", server.grpc, "admin", "user", "set-password", "ann", "--password-file", "-")
    assert (await rune(home, *words, given=f"{WORD}\n", token=server.token))[0] == 0
    words = ("login", "--server", server.grpc, "--user", "ann", "--password-file", "-")
    assert (await rune(home, *words, given=f"{WORD}\n"))[0] == 0
    return home / ".rune/config.yaml"


def kept(file: Path) -> Context:
    return load(str(file)).chosen()


def worn_out(file: Path) -> None:
    """What the command line would find a day later: an access token that no server takes any more."""
    every = load(str(file))
    save(str(file), every.having(every.current, replace(kept(file), token="worn-out", expires="1")))


async def test_a_short_session_lasts_in_the_shell_and_in_an_assistant(tmp_path: Path) -> None:
    (tmp_path / "runefile.yaml").write_text(SHORT, encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(tmp_path / "runefile.yaml")) as server:
        file = await log_in(server, tmp_path)
        first = kept(file)
        assert (await rune(tmp_path, "whoami"))[0] == 0
        second = kept(file)
        assert {second.token, second.refresh}.isdisjoint((first.token, first.refresh))

        worn_out(file)
        environ = {"HOME": str(tmp_path), "RUNE_CLI_CONFIG": str(file)}
        started = StdioServerParameters(command=sys.executable, args=["-m", "rune.mcp.main"], env=environ)
        async with Assistant(started, read_timeout_seconds=30) as ai:
            seen = {kept(file).token}
            for _ in range(2):
                answer = await ai.call_tool("who_am_i", {})
                assert not answer.is_error, answer
                assert "ann" in repr(answer)
                seen.add(kept(file).token)
            assert len(seen) > 2  # each call found the token at its end, and traded it
            code, said = await rune(tmp_path, "whoami")  # both share the file
            assert (code, "ann" in said) == (0, True), said
            assert not (await ai.call_tool("who_am_i", {})).is_error

            found = (await server.call(sessions.list_, sessions.ListSessionsRequest(everybody=True))).sessions
            assert len(found) == 1  # however often it was traded
            await server.call(sessions.revoke, sessions.RevokeSessionRequest(id=found[0].id))
            answer = await ai.call_tool("who_am_i", {})
            assert answer.is_error
            assert "the session is over" in repr(answer)
        code, said = await rune(tmp_path, "whoami")
        assert (code, "rune login --user NAME" in said) == (3, True), (code, said)
