"""Calls of the Engine about one container that more than one verb makes."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from rune.orchestrator.runners.docker.containers import NAMESPACE, Container, aliases_of, network_name
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


async def cut_off(engine: Engine, container: Container) -> None:
    """Out of every network; published ports lead nowhere then."""
    for network in container.network.networks or {}:
        what, body = f"leave network {network!r}", {"Container": container.id, "Force": True}
        await engine.call("POST", f"networks/{quote(network)}/disconnect", what=what, body=body)


async def reconnect(engine: Engine, container: Container, owner: str) -> None:
    """Into the network of its namespace, under its names."""
    network = network_name(owner, container.labels.get(NAMESPACE, ""))
    if network in (container.network.networks or {}):
        return
    body = {"Container": container.id, "EndpointConfig": {"Aliases": aliases_of(container)}}
    await engine.call(
        "POST", f"networks/{quote(network)}/connect", what=f"join network {network!r}", body=body
    )
