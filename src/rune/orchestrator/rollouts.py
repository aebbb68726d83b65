"""Rollouts: how far one has come, whether it has failed, and what the service goes back to then.

All of it is pure: a moment's copies and what was noted before go in, what to note now comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.rollout import Rollout as Wishes
from rune.api.orchestrator.services import UpdateStatus
from rune.orchestrator.lifecycle import LOOPING
from rune.orchestrator.plan import Fleet, template_generation
from rune.orchestrator.spec import Template

DEFAULTS: Final = Wishes()


def wishes(fleet: Fleet) -> Wishes:
    """What the service says of its rollouts."""
    return fleet.service.rollout or DEFAULTS


def progressed(fleet: Fleet, *, is_held: bool) -> UpdateStatus:
    """How far the newest template has come; time does not count while something else holds it up."""
    newest, now = template_generation(fleet.service), fleet.now
    before = fleet.service.update
    if before is None or before.template_generation != newest:
        before = UpdateStatus(template_generation=newest, started_at=now)
    fresh, available = fleet.fresh, len(fleet.available)
    moved_at = before.last_progress_at
    if moved_at is None or available > before.peak:
        moved_at = now
    return msgspec.structs.replace(
        before,
        desired=fleet.wanted,
        updated=len(fresh),
        updated_ready=sum(item.ready for item in fresh),
        available=sum(item.ready for item in fleet.staying),
        outdated=len(fleet.stale),
        peak=max(before.peak, available),
        last_progress_at=None if is_held and not fleet.is_complete else moved_at,
    )


def deadline(fleet: Fleet, update: UpdateStatus) -> datetime | None:
    """When the rollout has failed unless something gets better; None when it is over, or is held up."""
    if fleet.is_complete or update.last_progress_at is None:
        return None
    return update.last_progress_at + timedelta(seconds=wishes(fleet).progress_seconds)


def failure(fleet: Fleet, update: UpdateStatus) -> str:
    """Why the rollout of the newest template has failed; empty while it has not."""
    loops = [item for item in fleet.fresh if has_failed(item)]
    if loops:
        return f"{loops[0].id}: {what_happened(loops[0])}"
    return overdue(fleet, update)


def overdue(fleet: Fleet, update: UpdateStatus) -> str:
    """That it takes too long; empty while it does not."""
    end = deadline(fleet, update)
    if end is None or fleet.now < end:
        return ""
    return (
        f"{update.peak} of {fleet.wanted} copies became available,"
        f" and none more within {wishes(fleet).progress_seconds} s"
    )


def has_failed(item: Instance) -> bool:
    """It crashes again and again, cannot be started, or has failed for good."""
    if item.status is not InstanceStatus.FAILED:
        return False
    return item.streak >= LOOPING or item.start_after is None


def what_happened(item: Instance) -> str:
    """Without the words about what comes next."""
    return item.status_message.partition("; ")[0]


def newest_template(fleet: Fleet, templates: Sequence[Template]) -> Template | None:
    """The template that copies are made from."""
    wanted = template_generation(fleet.service)
    return next((item for item in reversed(templates) if item.generation == wanted), None)


def way_back(newest: Template | None, templates: Sequence[Template]) -> Template | None:
    """The newest template that is known to work and says something else; None from one that is proven,
    and from one that is a way back itself: two that fail in turn would never come to rest.
    """
    if newest is None or newest.proven or newest.automatic:
        return None
    return last_good(newest, templates)


def last_good(newest: Template, templates: Sequence[Template]) -> Template | None:
    """The newest template before this one that is known to work and says something else."""
    return next(
        (
            item
            for item in reversed(templates)
            if item.proven and item.generation < newest.generation and item.lineage != newest.lineage
        ),
        None,
    )
