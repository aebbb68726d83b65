"""Amounts of CPU and memory as people write them."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18}
_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("kmgtpe", start=1)}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]{0,2})")


def cpu(text: str) -> Decimal:
    """An amount of CPU in cores (`250m` is a quarter of one); raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found or found[2] not in ("", "m"):
        raise ValueError(f"{text[:40]!r} is no amount of CPU: write 0.5 or 500m")
    return Decimal(found[1]) / (1000 if found[2] else 1)


def memory(text: str) -> Decimal:
    """An amount of memory (`64Mi`, `1.5Gi`) in bytes; raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    unit = (_UNITS | _BINARY).get(found[2].lower()) if found else None
    if not found or unit is None:
        raise ValueError(f"{text[:40]!r} is no amount of memory: write 64Mi, 1.5Gi or a number of bytes")
    return Decimal(found[1]) * unit
