"""Whether two specs say the same: only a difference that copies would feel counts as a change.

Both are brought to one form first, so that a value spelled out and the default it stands for, or mounts
in another order, are the same; so are the fields that a newer server added since one was stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from rune.api.orchestrator.guard import ServiceAgent
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ReadyWhen, RestartPolicy
from rune.orchestrator.probes import FAILURES, PERIOD, SUCCESSES, TIMEOUT
from rune.orchestrator.spec import SPEC, TEMPLATE

W = TypeVar("W", RestartPolicy, ReadyWhen)


def is_same(one: Service, other: Service, fields: Iterable[str] = SPEC) -> bool:
    """The specs agree in these fields."""
    one, other = plain(one), plain(other)
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def is_same_template(one: Service, other: Service) -> bool:
    """Copies of the one are as good as copies of the other; who an agent is, its copies are told."""
    return _who(one.agent) == _who(other.agent) and is_same(one, other, TEMPLATE)


def _who(agent: ServiceAgent | None) -> tuple[object, ...]:
    return (agent.id, agent.framework, agent.tags) if agent else ()


def plain(spec: Service) -> Service:
    """The spec with its defaults written out, and in order what has no order of its own."""
    return msgspec.structs.replace(
        spec,
        restart_policy=_or(spec.restart_policy, RestartPolicy.UNSPECIFIED, RestartPolicy.ALWAYS),
        ports=[
            msgspec.structs.replace(
                port, protocol=port.protocol or "tcp", target_port=port.target_port or port.port
            )
            for port in spec.ports
        ],
        health=_health(spec.health),
        dependencies=[
            msgspec.structs.replace(
                ref,
                namespace=ref.namespace or spec.namespace,
                ready_when=_or(ref.ready_when, ReadyWhen.UNSPECIFIED, ReadyWhen.HEALTHY),
            )
            for ref in spec.dependencies
        ],
        secret_mounts=sorted(spec.secret_mounts, key=lambda mount: mount.mount_path),
        configmap_mounts=sorted(spec.configmap_mounts, key=lambda mount: mount.mount_path),
        volumes=sorted(spec.volumes, key=lambda mount: mount.mount_path),
    )


def _health(health: HealthCheck | None) -> HealthCheck | None:
    """None also for one that asks nothing."""
    if health is None or not (health.liveness or health.readiness or health.startup):
        return None
    return HealthCheck(
        liveness=_probe(health.liveness), readiness=_probe(health.readiness), startup=_probe(health.startup)
    )


def _probe(probe: Probe | None) -> Probe | None:
    if probe is None:
        return None
    scheme = (probe.scheme or "http") if probe.type is ProbeType.HTTP else probe.scheme
    return msgspec.structs.replace(
        probe,
        period_seconds=probe.period_seconds or PERIOD,
        timeout_seconds=probe.timeout_seconds or TIMEOUT,
        success_threshold=probe.success_threshold or SUCCESSES,
        failure_threshold=probe.failure_threshold or FAILURES,
        scheme=scheme,
    )


def _or(value: W, unsaid: W, meant: W) -> W:
    return meant if value == unsaid else value
