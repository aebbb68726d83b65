"""Amounts of CPU and memory as people write them (`250m`, `64Mi`), read into limits that runners enforce."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from rune.api.orchestrator.specs import ResourceLimit, Resources
from rune.errors import Violation
from rune.orchestrator.runners.base import Limits

NUMBER: Final = re.compile(r"(?P<number>\d{1,18}(\.\d{1,9})?)(?P<unit>[A-Za-z]*)", re.ASCII)
MEMORY_UNITS: Final = {
    "": 1,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}  # fmt: skip
LEAST_CPU: Final = Decimal("0.001")
MOST_CPU: Final = 10_000
MOST_MEMORY: Final = 1 << 50
"""A pebibyte: more is a slip of the pen."""


def cores(text: str) -> float:
    """Cores of `250m`, `0.5` or `2`; raises ValueError with the reason for anything else."""
    number, unit = _parts(text, "cores such as 2 or 0.5, or thousandths of one such as 250m")
    if unit not in ("", "m"):
        raise ValueError(f"has the unknown unit {unit!r}: CPU is given in cores (0.5) or thousandths (500m)")
    amount = number / 1000 if unit else number
    if not LEAST_CPU <= amount <= MOST_CPU:
        raise ValueError(f"must be from 1m to {MOST_CPU} cores")
    return float(amount)


def size(text: str) -> int:
    """Bytes of `64Mi`, `1.5Gi`, `500M` or `1048576`; raises ValueError with the reason for anything else."""
    number, unit = _parts(text, "an amount such as 64Mi or 1.5Gi")
    if unit not in MEMORY_UNITS:
        raise ValueError(f"has the unknown unit {unit!r}: there are {', '.join(MEMORY_UNITS).lstrip(', ')}")
    amount = int(number * MEMORY_UNITS[unit])
    if not 0 < amount <= MOST_MEMORY:
        raise ValueError("must be from 1 byte to 1024Ti")
    return amount


def limits(resources: Resources | None) -> Limits:
    """What a copy may use and is promised; of resources without violations."""
    asked = resources or Resources()
    cpu, memory = asked.cpu or ResourceLimit(), asked.memory or ResourceLimit()
    return Limits(
        cpu=cores(cpu.limit) if cpu.limit else 0,
        cpu_request=cores(cpu.request) if cpu.request else 0,
        memory=size(memory.limit) if memory.limit else 0,
        memory_request=size(memory.request) if memory.request else 0,
    )


def violations(resources: Resources | None) -> Iterator[Violation]:
    """Every amount that is none, by its field (`resources.cpu.limit`), and requests above their limits."""
    if resources:
        yield from _checked("resources.cpu", resources.cpu, cores)
        yield from _checked("resources.memory", resources.memory, size)


def _parts(text: str, wanted: str) -> tuple[Decimal, str]:
    found = NUMBER.fullmatch(text)
    if not found:
        raise ValueError(f"must be {wanted}, not {text[:40]!r}")
    return Decimal(found["number"]), found["unit"]


def _checked(where: str, asked: ResourceLimit | None, read: Callable[[str], float]) -> Iterator[Violation]:
    amounts: dict[str, float] = {}
    for name in ("request", "limit"):
        text = getattr(asked, name, "")
        if not text:
            continue
        try:
            amounts[name] = read(text)
        except ValueError as error:
            yield Violation(f"{where}.{name}", str(error))
    if asked and amounts.get("request", 0) > amounts.get("limit", float("inf")):
        yield Violation(f"{where}.request", f"{asked.request} cannot exceed the limit of {asked.limit}")
