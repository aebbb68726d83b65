"""What a service's spec must be, which of it is the template of its copies, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import msgspec

from rune.api import envrefs
from rune.api.fields import NamespaceName, Timestamp
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import (
    DependencyRef,
    Probe,
    ProbeType,
    ProcessSpec,
    SecurityContext,
    ServiceDiscovery,
    ServicePort,
)
from rune.api.resource import Resource
from rune.errors import InvalidArgument, Unimplemented, Violation
from rune.orchestrator import autoscale, images, mountpaths, quantities, quarantine
from rune.orchestrator.runners.isolation import capabilities, syscalls
from rune.orchestrator.traffic import exposure

TEMPLATE: Final = (
    "image", "command", "args", "env", "env_from", "ports", "resources", "health", "runtime", "process",
    "restart_policy", "secret_mounts", "configmap_mounts", "volumes", "init_steps", "security_context",
)  # fmt: skip
"""The fields that a copy is made from: a change of one needs new copies."""
SPEC: Final = (
    *TEMPLATE, "labels", "scale", "dependencies", "expose", "image_pull", "discovery", "network_policy",
    "image_pull_anonymous", "update_strategy", "drain_seconds", "rollout", "agent", "autoscale",
)  # fmt: skip
"""The fields that are the user's; all others are the system's, and what clients send there is not taken."""
MOST_LABELS: Final = 64
MOST_ENV_BYTES: Final = 1 << 20


class Template(Resource):
    """What the copies of one template generation are made from; kept while a copy of it may run."""

    KIND: ClassVar[str] = "template"

    name: str
    """`SERVICE.GENERATION`, so that the templates of a service stand together."""
    namespace: NamespaceName
    generation: int
    spec: Service
    recreate: bool = False
    """Replace the copies of older templates all at once."""
    alike: int = 0
    """The generation that first said the same, whose copies are as good as its own; 0 means its own."""
    proven: bool = False
    """Every copy of it was available once: a rollout that fails may go back to it."""
    failed: bool = False
    """Its rollout failed and was undone."""
    automatic: bool = False
    """It undoes a rollout that failed."""
    note: str = ""
    """Where it came from, or why it was undone."""
    created_at: Timestamp = None
    of_generation: int = 0
    """The generation of the service that brought it."""

    @property
    def lineage(self) -> int:
        """The same number for all templates that say the same."""
        return self.alike or self.generation


def template_name(service: str, generation: int) -> str:
    """The name that the template of this generation is kept under."""
    return f"{service}.{generation:010d}"


def spec_of(service: Service) -> Service:
    """The user's part of a service, normalized; raises InvalidArgument with everything that is wrong."""
    given = {name: getattr(service, name) for name in SPEC}
    spec = Service(name=service.name, namespace=service.namespace, **given)
    if not spec.image and spec.process is None and spec.command:
        spec = msgspec.structs.replace(
            spec, process=ProcessSpec(command=spec.command, args=spec.args), command="", args=[]
        )
    if spec.agent and not spec.agent.id:
        spec = msgspec.structs.replace(spec, agent=msgspec.structs.replace(spec.agent, id=spec.name))
    found = list(_violations(spec))
    if found:
        raise InvalidArgument.of([Violation(f"service.{v.field}", v.description) for v in found])
    if spec.discovery and spec.discovery.vip:  # the server's own word, from an answer that is sent back
        said = msgspec.structs.replace(spec.discovery, vip="")
        spec = msgspec.structs.replace(spec, discovery=None if said == ServiceDiscovery() else said)
    if spec.image:
        images.refuse_profile(spec.security_context or SecurityContext())
        return msgspec.structs.replace(spec, runtime="docker")
    _refuse_for_processes(spec)
    return msgspec.structs.replace(spec, runtime="process")


def _refuse_for_processes(spec: Service) -> None:
    """Raises Unimplemented for what only containers can have in this release."""
    for at, port in enumerate(spec.ports):
        if port.host_port:
            raise Unimplemented(
                f"service.ports[{at}].host_port is not supported for processes: use expose.host_port"
            )


def find_cycle(start: tuple[str, str], edges: dict[tuple[str, str], Sequence[tuple[str, str]]]) -> str:
    """A way from a service through its dependencies back to itself, as `a -> b -> a`; empty without one."""
    trail: list[tuple[str, str]] = []
    seen: set[tuple[str, str]] = set()

    def walk(node: tuple[str, str]) -> bool:
        trail.append(node)
        for target in edges.get(node, ()):
            if target == start:
                trail.append(target)
                return True
            if target not in seen:
                seen.add(target)
                if walk(target):
                    return True
        trail.pop()
        return False

    if not walk(start):
        return ""
    home = start[0]
    return " -> ".join(name if namespace == home else f"{namespace}/{name}" for namespace, name in trail)


def depends_on(service: Service) -> list[tuple[str, str]]:
    """The services that it depends on, as namespace and name."""
    return [(ref.namespace or service.namespace, ref.service) for ref in service.dependencies if ref.service]


def _violations(spec: Service) -> Iterator[Violation]:
    if not spec.image and spec.process is None:
        yield Violation("process", "is required: say what to run, with process.command or image")
    if spec.image and spec.process is not None:
        yield Violation("process", "cannot be combined with image: a service is one or the other")
    if len(spec.labels) > MOST_LABELS:
        yield Violation("labels", f"has {len(spec.labels)} entries; {MOST_LABELS} are the most")
    if sum(len(key) + len(value) for key, value in spec.env.items()) > MOST_ENV_BYTES:
        yield Violation("env", "is larger than 1 MiB")
    yield from envrefs.violations(spec.env, spec.namespace or "default")
    runtime = "docker" if spec.image else "process"
    if spec.runtime not in ("", runtime):
        yield Violation("runtime", f"is {runtime} for this service, not {spec.runtime[:40]!r}: leave it out")
    yield from images.violations(spec)
    yield from quantities.violations(spec.resources)
    yield from _process_violations(spec.process)
    yield from _security_violations(spec.process)
    yield from quantities.violations(spec.resources)
    yield from _port_violations(spec.ports)
    if spec.health:
        yield from _probe_violations("health.liveness", spec.health.liveness, spec.ports)
        yield from _probe_violations("health.readiness", spec.health.readiness, spec.ports)
        yield from _probe_violations("health.startup", spec.health.startup, spec.ports)
    yield from exposure.violations(spec)
    yield from quarantine.violations(spec)
    yield from _rollout_violations(spec)
    yield from autoscale.violations(spec)
    yield from mountpaths.violations(spec)
    for number, ref in enumerate(spec.dependencies):
        yield from _dependency_violations(f"dependencies[{number}]", ref, spec)


def _process_violations(process: ProcessSpec | None) -> Iterator[Violation]:
    if process is None:
        return
    if not process.command or "\0" in process.command:
        yield Violation("process.command", "must name a program")
    if process.working_dir and not process.working_dir.startswith("/"):
        yield Violation("process.working_dir", "must be an absolute path")
    if any("\0" in argument for argument in process.args):
        yield Violation("process.args", "must not contain NUL")


def _security_violations(process: ProcessSpec | None) -> Iterator[Violation]:
    """Names that the kernel does not know; whether it can be enforced is the runner's to say."""
    security = process.security_context if process else None
    if security is None:
        return
    where = "process.security_context"
    yield from capabilities.violations(f"{where}.capabilities", security.capabilities)
    yield from syscalls.violations(f"{where}.allowed_syscalls", security.allowed_syscalls)
    yield from syscalls.violations(f"{where}.denied_syscalls", security.denied_syscalls, denied=True)


def _port_violations(ports: Sequence[ServicePort]) -> Iterator[Violation]:
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for at, port in enumerate(ports):
        protocol = port.protocol or "tcp"
        if protocol not in ("tcp", "udp"):
            yield Violation(f"ports[{at}].protocol", "must be tcp or udp")
        if port.name and port.name in names:
            yield Violation(f"ports[{at}].name", f"{port.name!r} is used twice")
        if (port.port, protocol) in numbers:
            yield Violation(f"ports[{at}].port", f"{port.port}/{protocol} is used twice")
        names.add(port.name)
        numbers.add((port.port, protocol))


def _probe_violations(where: str, probe: Probe | None, ports: Sequence[ServicePort]) -> Iterator[Violation]:
    if probe is None:
        return
    if probe.type is ProbeType.EXEC:
        if not probe.command:
            yield Violation(f"{where}.command", "is required for an exec probe")
    elif not probe.port and not ports:
        yield Violation(f"{where}.port", "is required: the service declares no port to fall back on")
    if probe.type is ProbeType.HTTP and not probe.path.startswith("/"):
        yield Violation(f"{where}.path", "is required for an http probe and begins with /")


def _rollout_violations(spec: Service) -> Iterator[Violation]:
    strategy, wishes = spec.update_strategy, spec.rollout
    if strategy and strategy.type not in ("", "rolling", "recreate"):
        yield Violation("update_strategy.type", "must be rolling or recreate")
    if strategy and strategy.type == "recreate" and strategy.min_serving:
        yield Violation("update_strategy.min_serving", "cannot be kept when the old copies end first")
    if wishes and wishes.max_surge == 0 and wishes.max_unavailable == 0:
        yield Violation("rollout.max_unavailable", "must not be 0 where max_surge is 0: nothing could change")


def _dependency_violations(where: str, ref: DependencyRef, spec: Service) -> Iterator[Violation]:
    if bool(ref.service) + bool(ref.secret) + bool(ref.configmap) != 1:
        yield Violation(where, "names exactly one of `service`, `secret` and `configmap`")
    elif ref.service and (ref.namespace or spec.namespace, ref.service) == (spec.namespace, spec.name):
        yield Violation(where, f"service {spec.name!r} cannot depend on itself")
