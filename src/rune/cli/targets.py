"""What TARGET means: a service, or one instance of it."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

_INSTANCE = re.compile(r".+-instance-[0-9a-f]{8}")
_KINDS = {"service": "service", "svc": "service", "instance": "instance", "inst": "instance"}


class Target(NamedTuple):
    """`kind` is service or instance."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def target(text: str) -> Target:
    """`api`, `service/api`, `api-instance-1f2e3d4c` or `instance/ID`."""
    kind, slash, name = text.partition("/")
    if not slash:
        return Target("instance" if _INSTANCE.fullmatch(text) else "service", text)
    if kind not in _KINDS or not name:
        raise click.UsageError(f"{text!r} is neither NAME nor service/NAME nor instance/ID")
    return Target(_KINDS[kind], name)
