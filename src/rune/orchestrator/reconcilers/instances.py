"""Instances: each runs, or has ended, as it should; what the runner saw of it is written down."""

from __future__ import annotations

from typing import Final

import msgspec

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.specs import RestartPolicy
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.store.base import Delete, Put, Store
from rune.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from rune.orchestrator import lifecycle
from rune.orchestrator.copies import template_of
from rune.orchestrator.lifecycle import Note, Rest, Run, Stop, View, decide
from rune.orchestrator.machine import Machine
from rune.orchestrator.mounts import Missing
from rune.orchestrator.runners.base import HasFiles, HasNetworks, Pulling, Runner, State
from rune.orchestrator.spec import Template
from rune.orchestrator.traffic import variables
from rune.orchestrator.workloads import with_credentials, workload

DEFAULT_DRAIN: Final = 10
MOST_STEPS: Final = 8
"""Steps in one look; a decision that needs more has lost its way and starts over."""
AWAY: Final = "RunnerUnavailable"
"""The reason of an instance whose runner does not answer: it may well run."""
FIRST_ASK: Final = 0.1
LAST_ASK: Final = 5.0
"""Seconds until a runner is asked again that could not answer: as many as it has been away for."""


class InstanceReconciler:
    """Makes runners agree with the instances in the store. Without traffic, nothing is drained."""

    def __init__(self, store: Store, machine: Machine, *, clock: Clock) -> None:
        self._store = store
        self._runners = machine.runners
        self._probes = machine.probes
        self._credentials = machine.credentials
        self._traffic = machine.traffic
        self._supplies = machine.supplies
        self._introduces = machine.introduces
        self._clock = clock
        self._ending: dict[str, float] = {}
        """The grace of every stop that is under way."""
        self._stamps: dict[str, tuple[int, ...]] = {}
        """By instance: its attempt, and what its mounted files were made from."""

    async def hurry(self, key: Key) -> None:
        """Shorten a stop that is under way, when it may take less time by now, or nobody waits any more."""
        instance = self._store.find(Instance, key.namespace, key.name)
        grace = 0.0 if instance is None else instance.grace
        if grace is None or grace >= self._ending.get(key.name, 0.0):
            return
        self._ending[key.name] = grace
        for runner in self._runners.values():
            if runner.observe(key.name).state is State.RUNNING:
                await runner.stop(key.name, grace=grace)

    async def reconcile(self, key: Key) -> float | None:
        """Take steps until there is nothing to do."""
        for _ in range(MOST_STEPS):
            instance = self._store.find(Instance, key.namespace, key.name)
            if instance is None:
                return await self._forget(key.name)
            template = template_of(self._store, instance)
            runner = self._runners.get(instance.runner)
            try:
                if runner is None:
                    return await self._note_off(instance)
                step = decide(self._view(instance, template, runner))
                if not await self._take(step, instance, template):
                    await self._refresh(instance, template, runner)
                    return step.seconds if isinstance(step, Rest) else None
            except (Conflict, NotFound):
                continue
            except Unavailable as error:
                return await self._note_away(instance, error)
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
        if probed and (probed.readiness or probed.startup):
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
        around = variables.around(self._store, instance, template.spec)
        try:
            supplied = await self._supplies.supply(workload(instance, template, around), template.spec)
            if list(supplied.notes) != instance.notes:
                noted = msgspec.structs.replace(instance, notes=list(supplied.notes))
                await self._store.commit(Put(noted), operation="reconcile.instance")
                return True
            known = await self._introduces.introduced(supplied.workload, instance, template.spec)
            asked = await with_credentials(known, template, self._credentials)
            await self._runners[instance.runner].ensure(asked)
        except (FailedPrecondition, InvalidArgument) as error:
            reason = error.reason if isinstance(error, Missing) else "RunnerStartError"
            await self._note_refusal(instance, error.message, reason=reason)
        return True

    async def _refresh(self, instance: Instance, template: Template | None, runner: Runner) -> None:
        """Bring the mounted files of what runs up to date when a secret or configmap changed."""
        seen = runner.observe(instance.id)
        runs = seen.state is State.RUNNING and seen.attempt == instance.attempt
        if not runs:
            return
        self._introduces.forget(instance.id)
        await self._connect(instance, runner)
        if template is None or not isinstance(runner, HasFiles):
            return
        mounted = self._supplies.stamp(template.spec)
        stamp = (instance.attempt, *mounted)
        if mounted and self._stamps.get(instance.id) != stamp:
            supplied = await self._supplies.supply(workload(instance, template), template.spec)
            await runner.refresh(supplied.workload)
            self._stamps[instance.id] = stamp

    async def _connect(self, instance: Instance, runner: Runner) -> None:
        """Take its network, or give it back; once it was done, that is written down."""
        if instance.cut_off is instance.apart or not isinstance(runner, HasNetworks):
            return
        if instance.cut_off:
            await runner.cut_off(instance.id)
        else:
            await runner.reconnect(instance.id)
        noted = msgspec.structs.replace(instance, apart=instance.cut_off)
        await self._store.commit(Put(noted), operation="reconcile.instance")

    async def _note_refusal(self, instance: Instance, why: str, *, reason: str = "RunnerStartError") -> None:
        """It cannot be started as things are: say so, and try again later."""
        now = self._clock.now()
        delay = lifecycle.backoff(instance.streak + 1)
        noted = msgspec.structs.replace(
            instance,
            status=InstanceStatus.FAILED,
            status_message=f"{why}; tried again in {delay:g} s, {lifecycle.at_clock(now, delay)}",
            failure_reason=reason,
            failed_at=now,
            updated_at=now,
            streak=instance.streak + 1,
            start_after=lifecycle.later(now, delay),
            ready=False,
            ready_since=None,
            pid=0,
        )
        await self._store.commit(Put(noted), operation="reconcile.instance")

    async def _note_away(self, instance: Instance, error: Unavailable) -> float:
        """Whether it runs is not known: say why, and ask again. That is no failure of the instance."""
        noted = msgspec.structs.replace(instance, status_message=error.message, ready=False)
        if instance.desired is DesiredState.RUNNING:
            noted = _waiting(noted) if isinstance(error, Pulling) else _unknown(noted)
        if noted != instance:
            noted = msgspec.structs.replace(noted, updated_at=self._clock.now())
            try:
                await self._store.commit(Put(noted), operation="reconcile.instance")
            except Conflict:
                return 0.0
        away = (self._clock.now() - (noted.updated_at or self._clock.now())).total_seconds()
        return min(max(away, FIRST_ASK), LAST_ASK)

    async def _note_off(self, instance: Instance) -> None:
        """Its runner was switched off since it was made."""
        name = instance.runner
        why = f"the runner {name!r} is switched off on this server (runner.{name}.enabled)"
        noted = msgspec.structs.replace(_unknown(instance), status_message=why, ready=False)
        if noted != instance:
            await self._store.commit(Put(noted), operation="reconcile.instance")

    async def _stop(self, instance: Instance, template: Template | None, *, remove: bool) -> None:
        runner = self._runners[instance.runner]
        drain = template.spec.drain_seconds if template else 0
        self._ending[instance.id] = grace = grace_of(instance, drain)
        try:
            if self._traffic and instance.desired is not DesiredState.RUNNING:
                await self._traffic.drain(instance.id, grace)
            await runner.stop(instance.id, grace=grace)
        finally:
            del self._ending[instance.id]
        if remove:
            await self._forget(instance.id, runner=instance.runner)
            # Whatever was noted meanwhile, the instance is gone from the machine.
            await self._store.commit(Delete(instance.key), operation="reconcile.instance")

    async def _forget(self, instance: str, runner: str = "") -> None:
        """Remove it where it ran, and from its own runner also when it never did: its files may be there."""
        self._probes.drop(instance)
        self._stamps.pop(instance, None)
        self._introduces.forget(instance)
        for name, each in self._runners.items():
            if name == runner or each.observe(instance).state is not State.ABSENT:
                await each.remove(instance)


def _waiting(instance: Instance) -> Instance:
    return msgspec.structs.replace(instance, status=InstanceStatus.STARTING)


def _unknown(instance: Instance) -> Instance:
    return msgspec.structs.replace(instance, status=InstanceStatus.FAILED, failure_reason=AWAY)


def grace_of(instance: Instance, drain: int) -> float:
    """Seconds that it may take to end."""
    if instance.grace is not None:
        return float(instance.grace)
    return float(drain or DEFAULT_DRAIN)
