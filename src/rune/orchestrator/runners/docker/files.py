"""Mounted files of containers: laid out on this machine, and bound into the container as folders."""

from __future__ import annotations

import asyncio

import msgspec

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Mount, Workload
from rune.orchestrator.runners.files import Owner, Shelf


async def mounted(workload: Workload, shelf: Shelf | None) -> Workload:
    """The workload with its files brought up to date on the shelf, and mounts in their place.

    Files belong to the container's user where the workload gives its number; a name, or the image's own user,
    is for the image to know, so any user of the container may read them then, and nobody of the host but us.
    """
    if not workload.files:
        return workload
    if shelf is None:
        raise FailedPrecondition("this runner has no place for mounted files")
    user, group = workload.user, workload.group or workload.user
    ids = (int(user), int(group)) if user.isdecimal() and group.isdecimal() else (-1, -1)
    owner = Owner(*ids, is_contained=True)
    laid = await asyncio.to_thread(shelf.lay, workload.instance, workload.files, owner)
    mounts = [Mount(source=str(folder), target=target) for target, folder in laid.items()]
    return msgspec.structs.replace(workload, files=(), mounts=[*workload.mounts, *mounts])
