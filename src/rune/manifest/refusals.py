"""What every server would refuse in a resource, whatever else there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from rune.api import envrefs
from rune.api.orchestrator.secrets import Secret
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import Probe, ProbeType, ResourceLimit
from rune.manifest.amounts import cpu, memory
from rune.manifest.documents import Item

MOST_KEYS = 64
MOST_VALUE = 64 * 1024

Said = tuple[str, str]
"""A path on the wire, and what is wrong there."""


def errors_in(item: Item) -> Iterator[Said]:
    """What every server would refuse, at its path on the wire."""
    if isinstance(item.model, Service):
        yield from _service(item.model)
    elif isinstance(item.model, Secret):
        yield from _secret(item.model)


def _service(service: Service) -> Iterator[Said]:
    if service.process is None and not service.image:
        yield "name", "says nothing to run: give it `process` (a command), `command` or `image`"
    if service.process is not None and service.image:
        yield "image", "a service is a process or an image, not both"
    if service.process is not None and not service.process.command:
        yield "process.command", "is empty"
    for found in envrefs.violations(service.env, service.namespace or "default"):
        yield found.field, found.description
    yield from _ports(service)
    yield from _sources(service)
    yield from _mounts(service)
    if service.health:
        for name, probe in (("liveness", service.health.liveness), ("readiness", service.health.readiness)):
            if probe:
                yield from _probe(f"health.{name}", probe, has_ports=bool(service.ports))
    if service.resources:
        yield from _limit("resources.cpu", service.resources.cpu, cpu)
        yield from _limit("resources.memory", service.resources.memory, memory)


def _ports(service: Service) -> Iterator[Said]:
    names = [port.name for port in service.ports if port.name]
    numbers = [str(port.port) for port in service.ports]
    places = [(port.port, port.protocol.lower() or "tcp") for port in service.ports]
    for number, port in enumerate(service.ports):
        if names.count(port.name) > 1 and names.index(port.name) != number:
            yield f"ports[{number}].name", f"the name {port.name!r} is given twice"
        if places.index(places[number]) != number:
            yield f"ports[{number}].port", f"the port {port.port} is given twice"
        if port.protocol.lower() not in ("", "tcp", "udp"):
            yield f"ports[{number}].protocol", f"{port.protocol!r} is neither tcp nor udp"
    if service.expose and service.expose.port not in {*names, *numbers}:
        yield "expose.port", f"{service.expose.port!r} is no declared port, by name or by number"


def _sources(service: Service) -> Iterator[Said]:
    for number, source in enumerate(service.env_from):
        if bool(source.secret_name) == bool(source.configmap_name):
            yield f"env_from[{number}]", "names exactly one of `secret` and `configmap`"
    for number, needed in enumerate(service.dependencies):
        if bool(needed.service) + bool(needed.secret) + bool(needed.configmap) != 1:
            yield f"dependencies[{number}]", "names exactly one of `service`, `secret` and `configmap`"


def _mounts(service: Service) -> Iterator[Said]:
    seen: dict[str, str] = {}
    for field in ("secret_mounts", "configmap_mounts"):
        for number, mount in enumerate(getattr(service, field)):
            path, where = mount.mount_path.rstrip("/"), f"{field}[{number}].mount_path"
            if ".." in path.split("/"):
                yield where, "must not contain .."
            if path in seen:
                yield where, f"{path} is where {seen[path]} is mounted already"
            seen[path] = f"{field}[{number}]"


def _probe(path: str, probe: Probe, *, has_ports: bool) -> Iterator[Said]:
    match probe.type:
        case ProbeType.HTTP:
            if not probe.path.startswith("/"):
                yield f"{path}.path", "an http probe needs a path that begins with /"
            if not probe.port and not has_ports:
                yield f"{path}.port", "an http probe needs a port: the service declares none"
        case ProbeType.TCP:
            if not probe.port and not has_ports:
                yield f"{path}.port", "a tcp probe needs a port: the service declares none"
        case ProbeType.EXEC:
            if not probe.command:
                yield f"{path}.command", "an exec probe needs a command"
        case ProbeType.UNSPECIFIED:
            yield f"{path}.type", "is one of http, tcp and exec"


def _limit(path: str, limit: ResourceLimit | None, amount: Callable[[str], Decimal]) -> Iterator[Said]:
    if limit is None:
        return
    amounts: dict[str, Decimal] = {}
    for name, text in (("request", limit.request), ("limit", limit.limit)):
        try:
            amounts[name] = amount(text or "0")
        except ValueError as error:
            yield f"{path}.{name}", str(error)
    if limit.limit and amounts.get("request", 0) > amounts.get("limit", 0):
        yield f"{path}.request", f"asks for {limit.request}, more than the limit of {limit.limit}"


def _secret(secret: Secret) -> Iterator[Said]:
    if secret.type not in ("", "static"):
        yield "type", "only `static` secrets are supported"
    if not secret.data:
        yield "data", "has no keys"
    if len(secret.data) > MOST_KEYS:
        yield "data", f"has more than {MOST_KEYS} keys"
    for key, value in secret.data.items():
        if len(value.encode()) > MOST_VALUE:
            yield f"data.{key}", f"is larger than {MOST_VALUE // 1024} KiB"
