"""Whether a commit may happen: optimistic concurrency, decided in one place for every store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rune.core.store.base import Change, Key, Mutation, Resource
from rune.core.store.kinds import Step
from rune.errors import AlreadyExists, Conflict, NotFound


def judge(
    steps: Sequence[Step], find: Callable[[Key], Resource | None], *, revision: int, operation: str
) -> Change:
    """The change that the steps make of what `find` sees.

    Raises what the first step that may not happen raises; nothing has been changed by then.
    """
    mutations = tuple(_mutation(step, find(step.key)) for step in steps)
    for mutation in mutations:
        if mutation.after is not None:
            # The copy is the store's own and nobody has seen it yet: no second copy for one number.
            msgspec.structs.force_setattr(mutation.after, "revision", revision)
    return Change(revision, operation, mutations)


def _mutation(step: Step, before: Resource | None) -> Mutation:
    if step.creates:
        if before is not None:
            message = f"{step.key} exists already, since revision {before.revision}"
            raise AlreadyExists(message)
        return Mutation(step.key, None, step.after)
    if before is None:
        raise missing(step.key)
    if step.read_at not in {0, before.revision}:
        message = f"{step.key} was read at revision {step.read_at} and is at {before.revision} by now"
        raise Conflict(message)
    return Mutation(step.key, before, step.after)


def missing(key: Key) -> NotFound:
    """What reads and writes raise for a key that holds nothing."""
    return NotFound(f"{key} does not exist")
