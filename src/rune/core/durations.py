"""Spans and points of time as people write them: `90s`, `10m`, `1h30m`, RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN: Final = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|[smhd]))+", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
LONGEST: Final = timedelta(days=100 * 366)


def span(text: str) -> timedelta:
    """`1h30m` → an hour and a half; raises ValueError that says how to write it."""
    if _SPAN.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        if seconds <= LONGEST.total_seconds():
            return timedelta(seconds=seconds)
        raise ValueError(f"{text!r} is longer than 100 years")
    raise ValueError(f"{text[:40]!r} is not a duration: write it like 90s, 10m, 1h30m or 7d")


def moment(text: str, now: datetime) -> datetime:
    """A point in time, in RFC 3339 or as how long before `now`; raises ValueError that says how."""
    if _SPAN.fullmatch(text):
        return now - span(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or "T" not in text.upper() or parsed.tzinfo is None:
        raise ValueError(
            f"{text[:40]!r} is not a time: write it like 2026-01-31T12:00:00Z, or 10m for ten minutes ago"
        )
    return parsed.astimezone(UTC)


def written(value: timedelta) -> str:
    """As `span` reads it, in the largest unit that is whole."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m", "s"):
        if seconds and not seconds % _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"
