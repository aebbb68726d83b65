"""The pages on TLS and on the audit log do what they say, command by command, with a real runed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import block, commands
from promises import promise
from runed import Runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
TLS = "how-to/encrypt-with-tls.md"
AUDIT = "how-to/keep-an-audit-log-and-backups.md"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of the machine's own contexts."""
    rest = {name: text for name, text in os.environ.items() if not name.startswith("RUNE_")}
    return {**rest, "HOME": str(folder), **more}


async def run(words: list[str], folder: Path, **more: str) -> str:
    """A command as a shell would run it; what it said."""
    assert words[0] == "rune"
    command = [sys.executable, "-m", "rune.cli.main", *words[1:]]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


async def test_the_page_on_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runefile.yaml").write_text(block(TLS, "yaml"), encoding="utf-8")
    server, said = Runed(tmp_path / "data"), ""
    try:
        for words in commands(TLS):
            if words[0] == "kill":
                await server.signal(signal.SIGHUP, until="certificates loaded")
                continue
            if "--server" in words and "certs" not in words and not server.is_up:
                await server.start("--config", "runefile.yaml")
            port = server.grpc.rpartition(":")[2]
            said = await run([word.replace(":7863", f":{port}") for word in words], tmp_path)
        assert said.startswith("certs/server.pem (issued)")
        assert (await run(["rune", "whoami"], tmp_path)).startswith("ann (")
        assert (await run(["rune", "--context", "home", "whoami"], tmp_path)).startswith("root (")
    finally:
        await server.end()
        await server.start("--dev")  # whose keeper ends with it
        await server.end()


@promise("audit.offline")
async def test_the_page_on_the_audit_log(tmp_path: Path) -> None:
    server = Runed(tmp_path / "data")
    (tmp_path / "runefile.yaml").write_text(block(AUDIT, "yaml"), encoding="utf-8")
    try:
        await server.start("--dev", "--config", str(tmp_path / "runefile.yaml"))
        said: dict[str, str] = {}
        for words in commands(AUDIT):
            if "--data-dir" in words and server.is_up:
                await server.end()
            said[" ".join(words[2:4])] = await run(
                words, tmp_path, RUNE_SERVER=server.grpc, RUNE_TOKEN=server.token
            )
        assert said["audit verify"].startswith("intact: ")
        assert "what was there before is" in said["restore rune.db"]
        await server.start("--dev")
        assert (
            await run(["rune", "whoami"], tmp_path, RUNE_SERVER=server.grpc, RUNE_TOKEN=server.token)
        ).startswith("root")
        verdict = await run(
            ["rune", "admin", "audit", "verify"], tmp_path, RUNE_SERVER=server.grpc, RUNE_TOKEN=server.token
        )
        assert verdict.startswith("intact: ")
    finally:
        await server.end()
