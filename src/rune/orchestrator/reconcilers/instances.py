"""Instances: each runs, or has ended, as it should; what the runner saw of it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from rune.api.orchestrator.health import HealthCheckResult
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.specs import RestartPolicy
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.store.base import Delete, Put, Store
from rune.errors import Conflict, FailedPrecondition, InvalidArgument
from rune.orchestrator import lifecycle
from rune.orchestrator.copies import template_of
from rune.orchestrator.lifecycle import Note, Rest, Run, Stop, View, decide
from rune.orchestrator.mounts import NOTHING, Missing, Supplies
from rune.orchestrator.runners.base import HasFiles, Runner, State
from rune.orchestrator.spec import Template
from rune.orchestrator.workloads import workload

DEFAULT_DRAIN: Final = 10
MOST_STEPS: Final = 8
"""Steps in one look; a decision that needs more has lost its way and starts over."""


class Probes(Protocol):
    """Asks instances how they are, again and again."""

    def keep(self, instance: Instance, template: Template) -> None:
        """Ask this attempt of it from now on; nothing new when that is done already."""
        ...

    def drop(self, instance: str) -> None:
        """Ask it no more, and forget what it said."""
        ...

    def ready(self, instance: str) -> bool | None:
        """What the readiness probe says; None before its first word."""
        ...

    def sick(self, instance: str) -> str:
        """Why the liveness probe wants it replaced; empty when it does not."""
        ...

    def results(self, instance: str) -> list[HealthCheckResult]:
        """The last word of each probe."""
        ...


class InstanceReconciler:
    """Makes runners agree with the instances in the store."""

    def __init__(
        self,
        store: Store,
        runners: Mapping[str, Runner],
        probes: Probes,
        *,
        clock: Clock,
        supplies: Supplies = NOTHING,
    ) -> None:
        self._store = store
        self._runners = runners
        self._probes = probes
        self._clock = clock
        self._supplies = supplies
        self._stamps: dict[str, tuple[int, ...]] = {}
        """By instance: its attempt, and what its mounted files were made from."""

    async def reconcile(self, key: Key) -> float | None:
        """Take steps until there is nothing to do."""
        for _ in range(MOST_STEPS):
            instance = self._store.find(Instance, key.namespace, key.name)
            if instance is None:
                return await self._forget(key.name)
            template = template_of(self._store, instance)
            runner = self._runners[instance.runner]
            step = decide(self._view(instance, template, runner))
            try:
                if not await self._take(step, instance, template):
                    await self._refresh(instance, template, runner)
                    return step.seconds if isinstance(step, Rest) else None
            except Conflict:
                continue
        return 0.0

    def _view(self, instance: Instance, template: Template | None, runner: Runner) -> View:
        seen = runner.observe(instance.id)
        probed = template.spec.health if template else None
        current = seen.state is State.RUNNING and seen.attempt == instance.attempt
        if current and template and probed and instance.desired is DesiredState.RUNNING:
            self._probes.keep(instance, template)
        elif probed:
            self._probes.drop(instance.id)
        ready = True
        if probed and probed.readiness:
            said = self._probes.ready(instance.id) if current else None
            ready = instance.ready if said is None else said
        return View(
            instance=instance,
            seen=seen,
            now=self._clock.now(),
            policy=template.spec.restart_policy if template else RestartPolicy.NEVER,
            ready=ready,
            sick=self._probes.sick(instance.id) if current and probed else "",
        )

    async def _take(self, step: lifecycle.Step, instance: Instance, template: Template | None) -> bool:
        """Do one step; false when it was the last."""
        match step:
            case Rest():
                return False
            case Note(noted):
                await self._store.commit(Put(noted), operation="reconcile.instance")
            case Run():
                return await self._run(instance, template)
            case Stop(remove):
                await self._stop(instance, template, remove=remove)
        return True

    async def _run(self, instance: Instance, template: Template | None) -> bool:
        if template is None:
            await self._note_refusal(instance, "the spec it was made from is gone")
            return False
        try:
            supplied = await self._supplies.supply(workload(instance, template), template.spec)
            if list(supplied.notes) != instance.notes:
                noted = msgspec.structs.replace(instance, notes=list(supplied.notes))
                await self._store.commit(Put(noted), operation="reconcile.instance")
                return True
            await self._runners[instance.runner].ensure(supplied.workload)
        except (FailedPrecondition, InvalidArgument) as error:
            reason = error.reason if isinstance(error, Missing) else "RunnerStartError"
            await self._note_refusal(instance, error.message, reason=reason)
        return True

    async def _refresh(self, instance: Instance, template: Template | None, runner: Runner) -> None:
        """Bring the mounted files of what runs up to date when a secret or configmap changed."""
        seen = runner.observe(instance.id)
        runs = seen.state is State.RUNNING and seen.attempt == instance.attempt
        if template is None or not runs or not isinstance(runner, HasFiles):
            return
        mounted = self._supplies.stamp(template.spec)
        stamp = (instance.attempt, *mounted)
        if mounted and self._stamps.get(instance.id) != stamp:
            supplied = await self._supplies.supply(workload(instance, template), template.spec)
            await runner.refresh(supplied.workload)
            self._stamps[instance.id] = stamp

    async def _note_refusal(self, instance: Instance, why: str, *, reason: str = "RunnerStartError") -> None:
        """It cannot be started as things are: say so, and try again later."""
        now = self._clock.now()
        delay = lifecycle.backoff(instance.streak + 1)
        noted = msgspec.structs.replace(
            instance,
            status=InstanceStatus.FAILED,
            status_message=f"{why}; tried again in {delay:g} s",
            failure_reason=reason,
            failed_at=now,
            updated_at=now,
            streak=instance.streak + 1,
            start_after=lifecycle.later(now, delay),
            ready=False,
            pid=0,
        )
        await self._store.commit(Put(noted), operation="reconcile.instance")

    async def _stop(self, instance: Instance, template: Template | None, *, remove: bool) -> None:
        runner = self._runners[instance.runner]
        drain = template.spec.drain_seconds if template else 0
        await runner.stop(instance.id, grace=grace_of(instance, drain))
        if remove:
            await self._forget(instance.id)
            # Whatever was noted meanwhile, the instance is gone from the machine.
            await self._store.commit(Delete(instance.key), operation="reconcile.instance")

    async def _forget(self, instance: str) -> None:
        self._probes.drop(instance)
        self._stamps.pop(instance, None)
        for runner in self._runners.values():
            if runner.observe(instance).state is not State.ABSENT:
                await runner.remove(instance)


def grace_of(instance: Instance, drain: int) -> float:
    """Seconds that it may take to end."""
    if instance.grace is not None:
        return float(instance.grace)
    return float(drain or DEFAULT_DRAIN)
