"""What `debug=True` prints: one JSON line on stderr for each scan, decision and batch."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

_FEW = {"type", "rule", "confidence", "start", "end"}


class Debug:
    """Prints when it is on, and costs one comparison when it is off."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def say(self, what: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """One line; never the text that was scanned."""
        if self.on:
            line = msgspec.json.encode({"rune": what, **fields}).decode()
            sys.stderr.write(line + "\n")

    def threats(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Threats without their prose."""
        return [{name: value for name, value in each.items() if name in _FEW} for each in found]
