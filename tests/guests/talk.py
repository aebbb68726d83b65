"""What programs that know nothing of Rune share: they try things, and print what became of each."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

ran: list[str] = []
told: dict[str, Any] = {}


def run(command: str) -> str:
    """Run a command and return what it says."""
    ran.append(command)
    return f"done {command}"


def attempt(name: str, act: Callable[[], Any]) -> None:
    """Notes what comes of a call, or the error that does."""
    try:
        told[name] = act()
    except Exception as error:  # noqa: BLE001 - whatever a framework makes of it
        told[name] = {"error": type(error).__name__, "why": str(error)}


async def aattempt(name: str, act: Callable[[], Awaitable[Any]]) -> None:
    """As `attempt`."""
    try:
        told[name] = await act()
    except Exception as error:  # noqa: BLE001 - as above
        told[name] = {"error": type(error).__name__, "why": str(error)}


def tell() -> None:
    """The last line of the program's output."""
    sys.stdout.write("\n" + json.dumps({**told, "ran": ran}) + "\n")
