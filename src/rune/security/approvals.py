"""Handlers of approvals: a call asks, a person decides once, and whoever waits hears of it at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec.structs import replace

from rune.api.security import approvals as api
from rune.core.call import Call
from rune.core.clock import EPOCH, Clock
from rune.core.dispatch import Dispatcher
from rune.core.settle import settle
from rune.core.store.base import Change, Delete, Put, Store, Write
from rune.errors import (
    Closed,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    RuneError,
)
from rune.security import following, raising
from rune.security.deadlines import Deadlines, Who
from rune.security.detect import Raised
from rune.security.kinds import Alert, Approval, Step, space
from rune.security.pages import Cursors, newest_first

logger = logging.getLogger(__name__)

PENDING, EXPIRED = "pending", "expired"
MOST_PENDING: Final = 1_000
"""Calls of an organization that wait at the same time."""
MOST_OF_ONE: Final = 250
"""Of them those of one agent: an agent that was taken over must not keep others from asking."""
MOST: Final = 10_000
"""Approvals of an organization; past it the oldest that was decided goes."""
LONGEST_HISTORY: Final = 100
PAUSE: Final = 1.0
"""Seconds before another try after a failure."""


class Approvals:
    """What can be done with approvals; `run` has to run meanwhile."""

    def __init__(self, store: Store, cursors: Cursors, *, clock: Clock) -> None:
        self._store = store
        self._cursors = cursors
        self._clock = clock
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        """Calls that ask at the same time share an alert: one after the other, none of them loses its try."""
        self._released = False
        self._deadlines = Deadlines(clock)

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.watch)(self.watch)
        dispatcher.handles(api.get)(self.get)
        dispatcher.handles(api.approve)(self.approve)
        dispatcher.handles(api.deny)(self.deny)
        dispatcher.handles(api.request)(self.request)
        dispatcher.handles(api.await_)(self.wait)

    # For people

    async def list(self, call: Call, ask: api.ListApprovalsRequest) -> api.ListApprovalsResponse:
        """The approvals that match, the newest first."""
        chosen = (
            each
            for each in self._store.list(Approval, space(call.principal.organization))
            if ask.status in ("all", self._status(each)) and ask.agent_id in ("", each.agent_id)
        )
        found, cursor = self._cursors.page(
            call, chosen, lambda each: newest_first(each.requested_at, each.id),
            limit=ask.limit, cursor=ask.cursor,
        )  # fmt: skip
        return api.ListApprovalsResponse(approvals=list(map(self._shown, found)), next_cursor=cursor)

    async def watch(
        self, call: Call, ask: api.WatchApprovalsRequest
    ) -> AsyncIterator[api.WatchApprovalsResponse]:
        """The approvals that match, and what becomes of them. One is pending until its end is written."""
        organization = call.principal.organization

        def is_chosen(each: Approval) -> bool:
            return ask.status in ("all", each.status) and ask.agent_id in ("", each.agent_id)

        admits = following.owned(Approval, organization, is_chosen)
        rows = partial(self._store.list, Approval, space(organization))
        async for each in following.items(self._store, ask.resume, admits, rows=rows):
            yield api.WatchApprovalsResponse(
                approval=each.resource and _written(each.resource, each.resource.status),
                event_type=each.event_type,
                revision=each.revision,
            )

    async def get(self, call: Call, ask: api.GetApprovalRequest) -> api.Approval:
        """One approval."""
        return self._shown(self._get(call, ask.approval_id))

    async def approve(self, call: Call, ask: api.ApproveCallRequest) -> api.Approval:
        """The call goes ahead."""
        return await self._decide(call, ask.approval_id, "approved", note=ask.note)

    async def deny(self, call: Call, ask: api.DenyCallRequest) -> api.Approval:
        """The call is refused."""
        return await self._decide(call, ask.approval_id, "denied", note=ask.note)

    async def _decide(self, call: Call, approval_id: str, status: str, *, note: str) -> api.Approval:
        """Once: raises FailedPrecondition for one that is decided, or that nobody waits for any more."""

        def decide() -> list[Write]:
            found = self._get(call, approval_id)
            now = self._status(found)
            if now != PENDING:
                who = f" by {found.decided_by}" if found.decided_by else ""
                raise FailedPrecondition(f"approval {approval_id} is {now}{who}: it is decided once")
            after = replace(
                found, status=status, decided_at=self._clock.now(), decided_by=call.principal.name, note=note
            )
            return [Put(after), *self._told(after)]

        await settle(self._store, decide, operation=call.operation.name)
        return self._shown(self._get(call, approval_id))

    # For Shields

    async def request(self, call: Call, ask: api.RequestApprovalRequest) -> api.Approval:
        """A new approval with its alert; the same again is the one that there is."""
        agent = call.principal.agent
        if agent and agent != ask.agent_id:
            raise PermissionDenied(f"this API key asks for agent {agent!r} alone, not for {ask.agent_id!r}")
        where = space(call.principal.organization)

        def decide() -> list[Write]:
            if self._store.find(Approval, where, ask.approval_id) is not None:
                return []
            every = self._store.list(Approval, where)
            waiting = [each.agent_id for each in every if each.status == PENDING]
            if len(waiting) >= MOST_PENDING or waiting.count(ask.agent_id) >= MOST_OF_ONE:
                most = f"{MOST_PENDING}, and {MOST_OF_ONE} of one agent"
                raise ResourceExhausted(f"as many calls wait for approval as may ({most}): decide some first")
            return self._made(call.principal.organization, ask, every)

        async with self._turn:
            await settle(self._store, decide, operation=call.operation.name)
        found = self._get(call, ask.approval_id)
        if (found.waiter, found.agent_id) != (ask.waiter, ask.agent_id):
            raise PermissionDenied(f"approval {ask.approval_id} is somebody else's")
        return self._shown(found)

    async def wait(self, call: Call, ask: api.AwaitApprovalsRequest) -> api.AwaitApprovalsResponse:
        """What was decided since; where nothing was, at the next decision, or when the wait is over."""
        self._deadlines.look()
        try:
            async with asyncio.timeout(ask.wait):
                while True:
                    changed = self._changed
                    answer = self._since(call, ask)
                    if answer.approvals or self._released:
                        return answer
                    await changed.wait()
        except TimeoutError:
            return self._since(call, ask)

    def _since(self, call: Call, ask: api.AwaitApprovalsRequest) -> api.AwaitApprovalsResponse:
        agent = call.principal.agent
        found = [
            each
            for each in self._store.list(Approval, space(call.principal.organization))
            if each.waiter == ask.waiter
            and each.status != PENDING
            and each.revision > ask.after
            and agent in ("", each.agent_id)
        ]
        newest = max((each.revision for each in found), default=ask.after)
        return api.AwaitApprovalsResponse(approvals=list(map(self._shown, found)), revision=newest)

    def release(self) -> None:
        """Answer all who wait: the server stops."""
        self._released = True
        self._wake()

    # What runs beside

    async def run(self) -> None:
        """Wake who waits, and end what waited for too long, until cancelled or the store closes."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._expire())
            await self._follow()

    async def _follow(self) -> None:
        while True:
            try:
                self._wake()
                revision = self._store.revision
                self._deadlines.add(_deadlines(self._store.list(Approval)))
                async for change in self._store.watch(revision):
                    self._heed(change)
            except OutOfRange:
                continue
            except Closed:
                return

    def _heed(self, change: Change) -> None:
        found = [each.after for each in change.mutations if each.key.kind == Approval.KIND]
        if found:
            self._wake()
            self._deadlines.add(_deadlines(each for each in found if isinstance(each, Approval)))

    async def _expire(self) -> None:
        while True:
            for who in await self._deadlines.due():
                try:
                    await settle(self._store, lambda who=who: self._late(*who), operation="expire_approval")
                except Closed:
                    return
                except RuneError as error:
                    logger.warning(
                        "an approval was not ended, it tries again", extra={"reason": error.message}
                    )
                    await asyncio.sleep(PAUSE)
                left = self._store.find(Approval, *who)  # there after a failure, or where the clock went back
                self._deadlines.add(_deadlines([left] if left is not None else []))

    def _late(self, namespace: str, approval_id: str) -> list[Write]:
        now = self._store.find(Approval, namespace, approval_id)
        if now is None or not self._is_late(now):
            return []
        after = replace(now, status=EXPIRED, decided_at=self._clock.now())
        return [Put(after), *self._told(after)]

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # Parts

    def _made(
        self, organization: str, ask: api.RequestApprovalRequest, every: Sequence[Approval]
    ) -> list[Write]:
        now = self._clock.now()
        raised = _raised(ask)
        sighting = raising.Sighting(raised=raised, at=now)
        writes = raising.writes(self._store, organization, [sighting], now=now)
        alert = next(write.value for write in writes if isinstance(write, Put))
        made = Approval(
            organization=organization,
            id=ask.approval_id,
            waiter=ask.waiter,
            agent_id=ask.agent_id,
            tool=ask.tool,
            rule=ask.rule,
            severity=ask.severity or "medium",
            session_id=ask.session_id,
            arguments=ask.arguments,
            arguments_hash=ask.arguments_hash,
            alert_id=alert.id if isinstance(alert, Alert) else "",
            requested_at=now,
            expires_at=now + timedelta(seconds=ask.wait_seconds),
        )
        decided = sorted((each for each in every if each.status != PENDING), key=_age)
        surplus = decided[: max(len(every) + 1 - MOST, 0)]
        return [Put(made), *writes, *(Delete(each.key, each.revision) for each in surplus)]

    def _told(self, approval: Approval) -> list[Write]:
        """The alert's history; it is resolved when nobody waits for an answer and all got one."""
        alert = self._store.find(Alert, space(approval.organization), approval.alert_id)
        if alert is None:
            return []
        every = self._store.list(Approval, space(approval.organization))
        others = [each for each in every if each.alert_id == alert.id and each.id != approval.id]
        is_done = approval.status != EXPIRED and all(each.status != PENDING for each in others)
        status = "resolved" if is_done and alert.is_live else alert.status
        step = Step(
            status=status,
            was=alert.status,
            at=approval.decided_at,
            by=approval.decided_by or "nobody",
            note=f"{approval.tool}: {approval.status}. {approval.note}".strip(),
        )
        return [Put(replace(alert, status=status, history=[*alert.history, step][-LONGEST_HISTORY:]))]

    def _get(self, call: Call, approval_id: str) -> Approval:
        found = self._store.find(Approval, space(call.principal.organization), approval_id)
        if found is None:
            raise NotFound(f"there is no approval {approval_id!r}")
        return found

    def _is_late(self, approval: Approval) -> bool:
        end = approval.expires_at
        return approval.status == PENDING and end is not None and end <= self._clock.now()

    def _status(self, approval: Approval) -> str:
        return EXPIRED if self._is_late(approval) else approval.status

    def _shown(self, approval: Approval) -> api.Approval:
        return _written(approval, self._status(approval))


def _written(approval: Approval, status: str) -> api.Approval:
    names = api.Approval.__struct_fields__
    given = {name: getattr(approval, name) for name in names if name != "status"}
    return api.Approval(**given, status=status)


def _raised(ask: api.RequestApprovalRequest) -> Raised:
    """The same alert that the event of a call raises which nobody waits for."""
    return Raised(
        agent_id=ask.agent_id,
        alert_type="approval_required",
        severity=ask.severity or "medium",
        title=f"Approval required ({ask.rule.rpartition('/')[2] or 'a policy'}) detected on {ask.agent_id}",
        rule=ask.rule,
        details={"tool": {"name": ask.tool}, "approval_id": ask.approval_id, "session_id": ask.session_id},
    )


def _deadlines(found: Iterable[Approval]) -> Iterator[tuple[datetime, Who]]:
    for each in found:
        if each.status == PENDING and each.expires_at is not None:
            yield each.expires_at, (each.key.namespace, each.id)


def _age(approval: Approval) -> datetime:
    return approval.decided_at or EPOCH
