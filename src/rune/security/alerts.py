"""Handlers of alerts, and of the false positives that they turn into."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from msgspec.structs import replace

from rune.api.security import alerts as api
from rune.api.security.words import Deleted, Updated
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.errors import NotFound, ResourceExhausted
from rune.security import following, outbox
from rune.security.board import ALL, Board, id_of
from rune.security.kinds import Alert, FalsePositive, Mark, Step, space
from rune.security.pages import Cursors, newest_first

LONGEST_HISTORY: Final = 100
"""Changes that are kept of an alert; past it the oldest goes."""
MOST_PATTERNS: Final = 10_000
"""False positives of an organization."""


class Alerts:
    """What can be done with alerts."""

    def __init__(self, store: Store, cursors: Cursors, *, clock: Clock) -> None:
        self._store = store
        self._cursors = cursors
        self._board = Board(store)
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.watch)(self.watch)
        dispatcher.handles(api.get)(self.get)
        dispatcher.handles(api.update)(self.update)
        dispatcher.handles(api.list_false_positives)(self.list_false_positives)
        dispatcher.handles(api.delete_false_positive)(self.delete_false_positive)

    async def prepare(self) -> None:
        """Put the alerts in order before somebody waits for it: a hundred thousand take half a second."""
        await self._board.order("", status=ALL, agent="")

    async def list(self, call: Call, ask: api.ListAlertsRequest) -> api.ListAlertsResponse:
        """The alerts that match, the newest first: in the order in which they were raised."""
        organization = call.principal.organization
        keys = await self._board.order(organization, status=ask.status, agent=ask.agent_id)
        where = space(organization)

        def at(key: str) -> Alert | None:
            alert = self._store.find(Alert, where, id_of(key))
            return alert if alert is not None and _is_chosen(alert, ask) else None

        found, cursor = self._cursors.walk(call, keys, at, limit=ask.limit, cursor=ask.cursor)
        return api.ListAlertsResponse(alerts=list(map(shown, found)), next_cursor=cursor)

    async def watch(self, call: Call, ask: api.WatchAlertsRequest) -> AsyncIterator[api.WatchAlertsResponse]:
        """The alerts that match, and what becomes of them."""
        organization = call.principal.organization
        admits = following.owned(Alert, organization, lambda alert: _is_chosen(alert, ask))
        rows = partial(self._store.list, Alert, space(organization))
        async for each in following.items(self._store, ask.resume, admits, rows=rows):
            yield api.WatchAlertsResponse(
                alert=each.resource and shown(each.resource),
                event_type=each.event_type,
                revision=each.revision,
            )

    async def get(self, call: Call, ask: api.GetAlertRequest) -> api.AlertDetails:
        """One alert with its history."""
        alert = self._get(call, ask.alert_id)
        history = [
            api.AlertChange(status=step.status, was=step.was, at=step.at, by=step.by, note=step.note)
            for step in alert.history
        ]
        return api.AlertDetails(
            alert=shown(alert),
            history=history,
            last_event=alert.last_event or None,
            details=alert.details,
        )

    async def update(self, call: Call, ask: api.UpdateAlertRequest) -> Updated:
        """Another status, its history and its patterns in one commit; the same again adds a note at most."""

        def decide() -> list[Write]:
            alert = self._get(call, ask.alert_id)
            if alert.status == ask.status and not ask.note:
                return []
            step = Step(
                status=ask.status,
                was=alert.status,
                at=self._clock.now(),
                by=call.principal.name,
                note=ask.note,
            )
            history = [*alert.history, step][-LONGEST_HISTORY:]
            after = replace(alert, status=ask.status, history=history)
            writes: list[Write] = [Put(after), *self._patterns(alert, after, call.principal.name)]
            if alert.status != ask.status:
                news = [("alert.updated", after)]
                writes += outbox.deliveries(self._store, after.organization, news, now=self._clock.now())
            return writes

        await settle(self._store, decide, operation=call.operation.name)
        return Updated()

    def _patterns(self, before: Alert, after: Alert, by: str) -> list[Write]:
        """What scanners shall let pass from now on, or no longer."""
        if before.status == after.status:
            return []
        every = self._store.list(FalsePositive, space(after.organization))
        if before.status == "false_positive":
            return [Delete(each.key, each.revision) for each in every if each.alert_id == after.id]
        if after.status != "false_positive":
            return []
        marks = after.marks or [Mark(threat=after.threat or after.alert_type, rule=after.rule)]
        if len(every) + len(marks) > MOST_PATTERNS:
            raise ResourceExhausted(f"there are {MOST_PATTERNS} false positives: delete some")
        return [Put(self._pattern(after, mark, by)) for mark in marks]

    def _pattern(self, alert: Alert, mark: Mark, by: str) -> FalsePositive:
        return FalsePositive(
            organization=alert.organization,
            id=f"fp_{self._clock.new_id().replace('-', '')}",
            threat_type=mark.threat,
            rule=mark.rule,
            fingerprint=mark.fingerprint,
            agent_id=alert.agent_id,
            alert_id=alert.id,
            created_at=self._clock.now(),
            created_by=by,
        )

    async def list_false_positives(
        self, call: Call, ask: api.ListFalsePositivesRequest
    ) -> api.ListFalsePositivesResponse:
        """What scanners let pass, newest first."""
        found, cursor = self._cursors.page(
            call,
            self._store.list(FalsePositive, space(call.principal.organization)),
            lambda each: newest_first(each.created_at, each.id),
            limit=ask.limit,
            cursor=ask.cursor,
        )
        rows = [
            api.FalsePositivePattern(
                id=each.id,
                threat_type=each.threat_type,
                rule=each.rule or None,
                fingerprint=each.fingerprint or None,
                pattern=each.pattern or None,
                agent_id=each.agent_id or None,
                created_at=each.created_at,
                created_by=each.created_by,
                alert_id=each.alert_id or None,
            )
            for each in found
        ]
        return api.ListFalsePositivesResponse(false_positives=rows, next_cursor=cursor)

    async def delete_false_positive(self, call: Call, ask: api.DeleteFalsePositiveRequest) -> Deleted:
        """Scanners find it again; the alert stays as it is."""

        def decide() -> list[Write]:
            found = self._store.find(FalsePositive, space(call.principal.organization), ask.false_positive_id)
            if found is None:
                raise NotFound(f"there is no false positive {ask.false_positive_id!r}")
            return [Delete(found.key, found.revision)]

        await settle(self._store, decide, operation=call.operation.name)
        return Deleted()

    def _get(self, call: Call, alert_id: str) -> Alert:
        found = self._store.find(Alert, space(call.principal.organization), alert_id)
        if found is None:
            raise NotFound(f"there is no alert {alert_id!r}")
        return found


def _is_chosen(alert: Alert, ask: api.ListAlertsRequest | api.WatchAlertsRequest) -> bool:
    return (
        ask.status in (ALL, alert.status)
        and ask.severity in ("", alert.severity)
        and ask.agent_id in ("", alert.agent_id)
    )


def shown(alert: Alert) -> api.Alert:
    """The alert in the API's words."""
    return api.Alert(
        id=alert.id,
        severity=alert.severity,
        alert_type=alert.alert_type,
        title=alert.title,
        status=alert.status,
        agent_id=alert.agent_id,
        occurrences=alert.occurrences,
        threat=alert.threat or None,
        rule=alert.rule or None,
        first_seen=alert.first_seen,
        last_seen=alert.last_seen,
    )
