"""The command line as people run it: a process of its own, on a real runed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from runed import Runed


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
