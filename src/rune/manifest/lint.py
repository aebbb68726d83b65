"""What can be checked without a server: what every server would refuse, and what is surely a slip."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rune.api.orchestrator.secrets import Secret
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import Probe, ProbeType, ResourceLimit
from rune.manifest.documents import Item
from rune.manifest.graph import cycles
from rune.manifest.positions import Problem

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18}
_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("kmgtpe", start=1)}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]{0,2})")
MOST_KEYS = 64
MOST_VALUE = 64 * 1024

Said = tuple[str, str]
"""A path on the wire, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and whether a server would refuse it (`error`) or it is probably not meant (`warning`)."""

    problem: Problem
    severity: Literal["error", "warning"] = "error"


def check(items: Sequence[Item]) -> list[Finding]:
    """Everything that is wrong with the resources, one by one and together, in the order of the files."""
    found = [Finding(item.problem(*said)) for item in items for said in _errors(item)]
    found += [Finding(item.problem(*said), "warning") for item in items for said in _warnings(item)]
    found += [Finding(problem) for problem in (*_doubled(items), *_circles(items))]
    return sorted(found, key=lambda f: (f.problem.spot.file, f.problem.spot.line, f.problem.spot.column))


def _errors(item: Item) -> Iterator[Said]:
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
    yield from _ports(service)
    yield from _sources(service)
    if service.health:
        for name, probe in (("liveness", service.health.liveness), ("readiness", service.health.readiness)):
            if probe:
                yield from _probe(f"health.{name}", probe)
    if service.resources:
        yield from _limit("resources.cpu", service.resources.cpu, cpu)
        yield from _limit("resources.memory", service.resources.memory, memory)


def _ports(service: Service) -> Iterator[Said]:
    names = [port.name for port in service.ports if port.name]
    numbers = [str(port.port) for port in service.ports]
    for number, port in enumerate(service.ports):
        if names.count(port.name) > 1 and names.index(port.name) != number:
            yield f"ports[{number}].name", f"the name {port.name!r} is given twice"
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


def _probe(path: str, probe: Probe) -> Iterator[Said]:
    match probe.type:
        case ProbeType.HTTP:
            if not probe.path.startswith("/"):
                yield f"{path}.path", "an http probe needs a path that begins with /"
            if not probe.port:
                yield f"{path}.port", "an http probe needs a port"
        case ProbeType.TCP:
            if not probe.port:
                yield f"{path}.port", "a tcp probe needs a port"
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


def cpu(text: str) -> Decimal:
    """An amount of CPU in cores (`250m` is a quarter of one); raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found or found[2] not in ("", "m"):
        raise ValueError(f"{text[:40]!r} is no amount of CPU: write 0.5 or 500m")
    return Decimal(found[1]) / (1000 if found[2] else 1)


def memory(text: str) -> Decimal:
    """An amount of memory (`64Mi`, `1.5Gi`) in bytes; raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    unit = (_UNITS | _BINARY).get(found[2].lower()) if found else None
    if not found or unit is None:
        raise ValueError(f"{text[:40]!r} is no amount of memory: write 64Mi, 1.5Gi or a number of bytes")
    return Decimal(found[1]) * unit


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


def _warnings(item: Item) -> Iterator[Said]:
    service = item.model
    if not isinstance(service, Service):
        return
    command = service.process.command if service.process else ""
    if any(char.isspace() for char in command) and "/" not in command.split()[-1]:
        yield (
            "process.command",
            "is one program's name, spaces included; did you mean to put words into `args`?",
        )


def _doubled(items: Sequence[Item]) -> Iterator[Problem]:
    seen: dict[tuple[str, str, str], Item] = {}
    for item in items:
        key = (item.kind, getattr(item.model, "namespace", "") or "default", item.model.name)
        first = seen.setdefault(key, item)
        if first is not item:
            yield item.problem("name", f"is declared twice, first at {first.spot}")


def _circles(items: Iterable[Item]) -> Iterator[Problem]:
    services = {
        (item.model.namespace or "default", item.model.name): item for item in items if item.kind == "service"
    }
    for cycle in cycles([item.model for item in services.values()]):
        way = " → ".join(name for _, name in (*cycle, cycle[0]))
        yield services[cycle[0]].problem("dependencies", f"depends on itself: {way}")
