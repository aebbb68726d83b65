"""What runed does when it is told to read its files again (SIGHUP): part by part, and none stops another."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rune.errors import RuneError

logger = logging.getLogger(__name__)

Part = Callable[[], None]
"""Reads something again; raises RuneError, and leaves what was there, when it is no good."""


class Reload:
    """The parts that can be read again, by what people call them."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}

    def add(self, name: str, part: Part) -> None:
        """Have it read again with the others."""
        self._parts[name] = part

    def run(self) -> None:
        """Read everything again; what is no good is named in the log, and stays as it was."""
        for name, part in self._parts.items():
            try:
                part()
            except RuneError as error:
                logger.error(  # noqa: TRY400 - the reason says it all, and where
                    "not reloaded, what was there stays in use", extra={"part": name, "reason": error.message}
                )
            else:
                logger.info("reloaded", extra={"part": name})
