"""Waiting for services: one watch for all, progress as it comes, and the reasons where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from rune.api.common import EventType
from rune.api.orchestrator import services
from rune.api.orchestrator.services import ScalingState, Service, ServiceStatus
from rune.cli.live import Board, Line
from rune.cli.output import word
from rune.cli.views import ready
from rune.client.client import Client
from rune.client.watch import Change, Watched, follow
from rune.errors import DeadlineExceeded, FailedPrecondition, NotFound, RuneError

A_START, LONGEST_START = 0.003, 0.2
"""Seconds that a process takes to start, and the most that is waited for: whoever watches from the first
moment on is told each step of each service, which takes both sides longer than the starts themselves."""

Key = tuple[str, str]
SERVICES = Watched(services.list_, services.watch)


class RolloutFailed(FailedPrecondition):
    """A service does not come up."""

    exit_code = 1


class TimeIsUp(DeadlineExceeded):
    """It did not come up in time; it goes on without us."""


async def wait_for(client: Client, wanted: Sequence[Service], board: Board, *, timeout: float) -> None:
    """Return when every service runs; raises RolloutFailed with the reasons, or TimeIsUp."""
    rollout = Rollout(wanted)
    board.update(rollout.lines())
    if rollout.is_done:
        return
    try:
        async with asyncio.timeout(timeout):
            await asyncio.sleep(min(A_START * len(wanted), LONGEST_START))
            await _watch(client, rollout, board)
    except TimeoutError as error:
        raise _late(rollout, timeout) from error


async def _watch(client: Client, rollout: Rollout, board: Board) -> None:
    namespaces = {namespace for namespace, _ in rollout.now}
    request = services.ListServicesRequest(namespace=namespaces.pop() if len(namespaces) == 1 else "*")
    async with aclosing(follow(client, SERVICES, request)) as changes:
        async for change in changes:
            if rollout.see(change):
                board.update(rollout.lines())
                rollout.check()
            if rollout.is_done:
                return


class Rollout:
    """Services on their way to what was asked for."""

    def __init__(self, wanted: Sequence[Service]) -> None:
        self.wanted = {_key(service): _generation(service) for service in wanted}
        self.now = {_key(service): service for service in wanted}
        self.scalings = {_key(service): service.scaling for service in wanted}
        self.gone: set[Key] = set()
        self.failed: set[Key] = set()
        self._has_one_namespace = len({namespace for namespace, _ in self.wanted}) == 1
        self._lines: dict[Key, Line] = {}

    def see(self, change: Change) -> bool:
        """Take a change in; says whether it is about one of ours."""
        key = _key(change.resource)
        if key not in self.wanted:
            return False
        if change.event is EventType.DELETED:
            self.gone.add(key)
        self.now[key] = change.resource
        self._lines.pop(key, None)
        (self.failed.add if self._has_failed(key) else self.failed.discard)(key)
        return True

    @property
    def is_done(self) -> bool:
        """All of them run."""
        return all(self.runs(key) for key in self.wanted)

    def runs(self, key: Key) -> bool:
        """It runs as it was asked to, with every copy ready."""
        service = self.now[key]
        return (
            self._is_observed(key)
            and not self._is_undone(key)
            and service.status is ServiceStatus.RUNNING
            and self._scaling(key) not in (ScalingState.IN_PROGRESS, ScalingState.ROLLED_BACK)
            and (service.update is None or service.update.updated_ready >= service.scale)
        )

    def _is_observed(self, key: Key) -> bool:
        """The status speaks of what was asked for, not of what was there before."""
        metadata = self.now[key].metadata
        return metadata is None or metadata.observed_generation >= self.wanted[key]

    def check(self) -> None:
        """Raise when one of them failed or is gone."""
        for key in self.gone:
            raise NotFound(f"service {key[1]!r} was deleted from namespace {key[0]!r} meanwhile")
        if self.failed:
            raise _failed([service for key, service in self.now.items() if key in self.failed])

    def _has_failed(self, key: Key) -> bool:
        is_down = self.now[key].status is ServiceStatus.FAILED and self._is_observed(key)
        return is_down or self._is_undone(key)

    def _is_undone(self, key: Key) -> bool:
        """What was asked for failed, and the server went back to what was there before."""
        metadata = self.now[key].metadata
        if self._scaling(key) is ScalingState.ROLLED_BACK:
            return True
        return bool(metadata and metadata.rolled_back_generation >= max(self.wanted[key], 1))

    def _scaling(self, key: Key) -> ScalingState:
        """How the scaling goes that was asked for; unspecified where none is watched over."""
        asked, now = self.scalings[key], self.now[key].scaling
        if asked is None or now is None or now.started_at != asked.started_at:
            return ScalingState.UNSPECIFIED
        return now.state

    def lines(self) -> list[Line]:
        """How each is, for a board."""
        for key in self.wanted:
            if key not in self._lines:
                self._lines[key] = self._line(key)
        return [self._lines[key] for key in self.wanted]

    def _line(self, key: Key) -> Line:
        service = self.now[key]
        name = key[1] if self._has_one_namespace else "/".join(key)
        runs = self.runs(key)
        state = word(service.status) if self._is_observed(key) else "Pending"
        state = "Updating" if state == "Running" and not runs else state or "Pending"
        count = service.scale if runs else ready(service)
        why = "" if runs else reason(service)
        return Line(name, state, "  ".join(filter(None, (f"{count}/{service.scale}", why))), is_settled=runs)


def reason(service: Service) -> str:
    """Why it is not better than it is."""
    return ": ".join(filter(None, (service.status_reason, service.status_message)))


def _failed(failed: Sequence[Service]) -> RuneError:
    lines = [f"service {one.name!r} failed: {reason(one) or 'no reason given'}" for one in failed]
    error = RolloutFailed("\n".join(lines))
    error.add_note(f"rune logs {failed[0].name} -n {failed[0].namespace or 'default'}")
    return error


def _late(rollout: Rollout, timeout: float) -> RuneError:
    waiting = [key for key in rollout.wanted if not rollout.runs(key)]
    lines = [f"not running after {timeout:g} s: {len(waiting)} of {len(rollout.wanted)} services"]
    for key in waiting[:20]:
        service = rollout.now[key]
        why = reason(service) or f"{ready(service)} of {service.scale} copies are ready"
        lines.append(f"  {'/'.join(key)}: {word(service.status) or 'Pending'}: {why}")
    return TimeIsUp("\n".join(lines))


def _key(service: Service) -> Key:
    return service.namespace or "default", service.name


def _generation(service: Service) -> int:
    return service.metadata.generation if service.metadata else 0
