"""The audit log as it is read over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final

from rune.api.common import OK
from rune.api.orchestrator import audit as api
from rune.core.audit import Audit
from rune.core.call import Call
from rune.core.chain import Seal
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.durations import moment
from rune.core.records import Record
from rune.errors import InvalidArgument, Unavailable, Violation

DEFAULT: Final = 100
MOST: Final = 1_000
SLACK: Final = timedelta(hours=1)
"""Records may be out of order by this much: the machine's clock is set back now and then."""


def register(dispatcher: Dispatcher, *, audit: Audit, clock: Clock) -> None:
    """Answer the operations of AuditService."""
    reader = Reader(audit, clock)
    dispatcher.handles(api.list_)(reader.list)
    dispatcher.handles(api.verify)(reader.verify)
    dispatcher.handles(api.export)(reader.export)


class Reader:
    """Reads the log from its newest record backwards."""

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    async def list(self, call: Call, ask: api.ListAuditEventsRequest) -> api.ListAuditEventsResponse:
        """The newest that match; at most 1,000, however many are asked for."""
        since, until = self._moment("since", ask.since), self._moment("until", ask.until)
        limit = min(ask.limit or DEFAULT, MOST)
        events: list[api.AuditEvent] = []
        await self._audit.flush()
        async for number, record in self._audit.newest():
            if until is not None and record.time > until:
                continue
            if len(events) >= limit or (since is not None and record.time < since - SLACK):
                break
            if since is not None and record.time < since:
                continue
            if _matches(record, ask):
                events.append(shown(number, record))
        return api.ListAuditEventsResponse(events=events, status=OK)

    async def verify(self, call: Call, ask: api.VerifyAuditRequest) -> api.VerifyAuditResponse:
        """The whole chain, and the entry that the caller knows of if it names one."""
        await self._audit.flush()
        seal = await self._audit.sealed()
        verdict = await self._audit.verify()
        bad, problem = verdict.bad, verdict.problem
        if not problem and ask.hash and not await self._audit.has(ask.sequence, ask.hash):
            bad, problem = ask.sequence, f"entry {ask.sequence} is not there with the hash that you know of"
        return api.VerifyAuditResponse(
            intact=not problem, entries=verdict.entries, bad=bad, problem=problem, seal=sealed(seal)
        )

    async def export(self, call: Call, ask: api.ExportAuditRequest) -> AsyncIterator[api.ExportAuditResponse]:
        """Everything up to a seal that is made now."""
        await self._audit.flush()
        seal = await self._audit.sealed()
        yield api.ExportAuditResponse(seal=sealed(seal))
        async for entry in self._audit.entries(seal):
            yield api.ExportAuditResponse(sequence=entry.sequence, entry=entry.payload.decode())
        if self._audit.seal.anchor > seal.anchor:
            raise Unavailable("old entries went while the log was exported: export it again")

    def _moment(self, field: str, text: str) -> datetime | None:
        try:
            return moment(text, self._clock.now()) if text else None
        except ValueError as error:
            raise InvalidArgument.of([Violation(field, str(error))]) from error


def sealed(seal: Seal) -> api.AuditSeal:
    """A seal in the words of the API."""
    return api.AuditSeal(
        **{name: getattr(seal, name) for name in seal.__struct_fields__ if name != "revision"}
    )


def _matches(record: Record, ask: api.ListAuditEventsRequest) -> bool:
    return (
        ask.resource in ("", record.resource)
        and ask.namespace in ("", record.namespace)
        and ask.actor in ("", record.actor, record.actor_id)
        and ask.action in ("", record.operation)
        and ask.resource_ref in ("", record.name, _reference(record))
    )


def _reference(record: Record) -> str:
    return f"{record.namespace}/{record.name}" if record.namespace and record.name else record.name


def shown(number: str, record: Record) -> api.AuditEvent:
    """A record in the words of the API."""
    facts = {
        "verb": record.verb,
        "actor_id": record.actor_id,
        "credential": record.credential,
        "edge": record.edge,
        "address": record.address,
        "request_id": record.request_id,
        "repeated": str(record.repeated or ""),
        **record.names,
    }
    return api.AuditEvent(
        id=number,
        timestamp=record.time,
        actor=record.actor,
        action=record.operation,
        resource=record.resource,
        resource_ref=_reference(record),
        namespace=record.namespace,
        outcome=record.outcome,
        message=record.message,
        metadata={name: value for name, value in facts.items() if value},
    )
