"""Rune runs AI agents, and any other service, and keeps them safe."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rune.version import __version__ as __version__

if TYPE_CHECKING:
    from rune.shield.options import ShieldConfig
    from rune.shield.results import PolicyDecision, ScanResult, ShieldBlockedError
    from rune.shield.shield import Shield

__all__ = ["PolicyDecision", "ScanResult", "Shield", "ShieldBlockedError", "ShieldConfig"]

_HOMES = {
    "PolicyDecision": "rune.shield.results",
    "ScanResult": "rune.shield.results",
    "Shield": "rune.shield.shield",
    "ShieldBlockedError": "rune.shield.results",
    "ShieldConfig": "rune.shield.options",
}


def __getattr__(name: str) -> object:
    """Loads a public name when it is first asked for: `runed` and the CLI import `rune` too and need none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rune' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
