"""Roster: written by every change of who may do what, so that no two are decided on the same state."""

from __future__ import annotations

from typing import ClassVar

from rune.api.fields import Timestamp
from rune.api.resource import Key, Resource
from rune.core.tokens import SYSTEM


class Roster(Resource):
    """Of a server there is one."""

    KIND: ClassVar[str] = "roster"

    bootstrapped_at: Timestamp = None

    @property
    def key(self) -> Key:
        """There is one."""
        return Key(self.KIND, SYSTEM, self.KIND)
