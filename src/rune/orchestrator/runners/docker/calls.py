"""Calls of the Engine about one container that more than one verb makes."""

from __future__ import annotations

from typing import Final

from rune.orchestrator.runners.docker.containers import Container
from rune.orchestrator.runners.docker.engine import Engine, Refused, decode

NOT_FOUND: Final = 404
CONFLICT: Final = 409


async def inspect(engine: Engine, container: str) -> Container | None:
    """How it is; None when it is gone."""
    try:
        answer = await engine.call("GET", f"containers/{container}/json", what="show a container")
    except Refused as error:
        if error.status != NOT_FOUND:
            raise
        return None
    return decode(answer, Container)


async def delete(engine: Engine, container: str) -> None:
    """With its log and its anonymous volumes; gone already, or going: fine."""
    params = {"force": "1", "v": "1"}
    try:
        await engine.call("DELETE", f"containers/{container}", what="remove a container", params=params)
    except Refused as error:
        if error.status not in {NOT_FOUND, CONFLICT}:
            raise
