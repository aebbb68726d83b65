"""The command line as people run it: a process of its own, on a real runed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runed import PATIENCE, Runed


async def rune(server: Runed, *words: str, text: str = "") -> tuple[int, str]:
    """A command; its exit code and all it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNE_")}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rune.cli.main", *words],
        env={
            **kept,
            "RUNE_SERVER": server.grpc,
            "RUNE_TOKEN": server.token,
            "HOME": str(server.folder.parent),
        },
        input=text,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


async def at_home(home: Path, *words: str, given: str = "", token: str = "") -> Said:
    """Run a command with a home of its own."""
    environ = {"HOME": str(home), **({"RUNE_TOKEN": token} if token else {})}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rune.cli.main", *words),
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(given.encode())
    return Said(process.returncode or 0, out.decode(), err.decode())
