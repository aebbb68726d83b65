"""What runed loads before it is ready is what every start waits for."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.system
def test_what_few_servers_use_is_not_loaded_for_all() -> None:
    names = [
        "httpx",
        "httpcore",
        "jwt",
        "aiodocker",
        "aiohttp",
        "rune.policy.scanners.patterns",
        "rune.core.provider",
    ]
    code = (
        f"import sys, rune.daemon.main, rune.dashboard.app; print([m for m in {names} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
