"""Handlers of revisions: what a service was before, and the way back, by hand or by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from rune.api.orchestrator import revisions as api
from rune.api.orchestrator.revisions import Revision, RevisionState
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Put, Store, Write
from rune.errors import FailedPrecondition, NotFound
from rune.orchestrator.admission import Admission
from rune.orchestrator.copies import copies_of, templates_of
from rune.orchestrator.plan import generation, template_generation
from rune.orchestrator.respec import Manner, change_service, get_service, respecified
from rune.orchestrator.rollouts import last_good
from rune.orchestrator.spec import SPEC, Template, spec_of


class Revisions:
    """What can be done with the revisions of a service."""

    def __init__(self, store: Store, *, clock: Clock, admission: Admission | None = None) -> None:
        self._store = store
        self._clock = clock
        self._admission = admission or Admission()

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.rollback)(self.rollback)

    async def list(self, call: Call, ask: api.ListRevisionsRequest) -> api.ListRevisionsResponse:
        """The kept templates, newest first."""
        service = get_service(self._store, (ask.namespace, ask.name))
        copies = Counter(map(generation, copies_of(self._store, ask.namespace, ask.name)))
        kept = templates_of(self._store, ask.namespace, ask.name)
        current = template_generation(service)
        return api.ListRevisionsResponse(
            revisions=[
                _shown(item, current=current, copies=copies[item.generation]) for item in reversed(kept)
            ]
        )

    async def rollback(self, call: Call, ask: api.RollbackServiceRequest) -> api.RollbackServiceResponse:
        """A new revision that says what an older one said."""
        ref = (ask.namespace, ask.name)
        now = get_service(self._store, ref)
        wanted = self._chosen(now, ask.to)[1]
        # What could not be cast now, or not by this caller, cannot be gone back to either.
        await self._admission.admit(call.principal, spec_of(restored(now, wanted)))
        before = target = 0

        def decide(found: Service) -> Sequence[Write]:
            nonlocal before, target
            before = template_generation(found)
            newest, back = self._chosen(found, wanted.generation)
            target = back.generation
            if back.lineage == newest.lineage:
                return []
            note = f"rolled back to revision {target}"
            return returned(
                self._store, found, back, now=self._clock.now(), manner=Manner(again=True, note=note)
            )

        service = await change_service(self._store, ref, decide, call=call)
        return api.RollbackServiceResponse(
            service=service,
            revision=template_generation(service),
            from_revision=before,
            to_revision=target,
        )

    def _chosen(self, service: Service, wanted: int) -> tuple[Template, Template]:
        """The newest template, and that to go back to."""
        kept = templates_of(self._store, service.namespace, service.name)
        by_number = {item.generation: item for item in kept}
        newest = by_number.get(template_generation(service))
        name = f"service {service.namespace}/{service.name}"
        if newest is None:
            raise FailedPrecondition(f"{name} has no current revision: cast it again")
        if wanted:
            if wanted not in by_number:
                known = ", ".join(map(str, by_number))
                raise NotFound(f"{name} has no revision {wanted}; there are {known}")
            return newest, by_number[wanted]
        back = last_good(newest, kept)
        if back is None:
            raise FailedPrecondition(
                f"{name} has no older revision that is known to work; choose one of `rune revisions`"
            )
        return newest, back


def restored(service: Service, back: Template) -> Service:
    """The service with the spec of an older template; its scale stays."""
    taken = {name: getattr(back.spec, name) for name in SPEC if name != "scale"}
    return msgspec.structs.replace(service, **taken)


def returned(store: Store, service: Service, back: Template, *, now: datetime, manner: Manner) -> list[Write]:
    """The writes that make a service what an older template says. Its copies that still run are kept.

    The manner says `again`: the new template has to come even where the current one says the same.
    """
    writes = respecified(store, service, restored(service, back), now=now, manner=manner)
    return [_alike(write, back) for write in writes]


def _alike(write: Write, back: Template) -> Write:
    """The new template is of the older one's line, whatever else says the same."""
    if isinstance(write, Put) and isinstance(write.value, Template) and not write.value.revision:
        return Put(msgspec.structs.replace(write.value, alike=back.lineage))
    return write


def _shown(item: Template, *, current: int, copies: int) -> Revision:
    state = RevisionState.REPLACED
    if item.failed:
        state = RevisionState.FAILED
    elif item.generation == current:
        state = RevisionState.CURRENT
    elif item.proven:
        state = RevisionState.GOOD
    return Revision(
        number=item.generation,
        state=state,
        created_at=item.created_at,
        instances=copies,
        same_as=item.alike,
        note=item.note,
        service=item.spec,
    )
