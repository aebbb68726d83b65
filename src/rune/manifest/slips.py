"""What a server would take, and what is probably not meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, RestartPolicy
from rune.manifest.documents import Item
from rune.manifest.refusals import Said

_SECRET_NAME = re.compile(
    r"(^|[_.-])(PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)([_.-]|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"|true|false|[0-9]{1,6}|/\S*|\{\{.*\}\}|https?://[^@\s]*", re.IGNORECASE)
"""Values of such names that are none: switches, numbers, paths of files, addresses."""
_KEYS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[opsu]_[A-Za-z0-9]{36}"
    r"|\bgithub_pat_[A-Za-z0-9_]{22}|\bsk-[A-Za-z0-9_-]{20}|\bxox[abprs]-[A-Za-z0-9-]{10}|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."
    r"|[a-z][a-z0-9+]{1,15}://[^/\s:@]*:[^/\s:@{]+@",
)
_LOOKED_AT = 64 << 10


def slips_in(item: Item) -> Iterator[Said]:
    """What is probably not meant in a resource by itself, at its path on the wire."""
    service = item.model
    if not isinstance(service, Service):
        return
    command = service.process.command if service.process else ""
    if any(char.isspace() for char in command) and "/" not in command.split()[-1]:
        words = "is one program's name, spaces included; did you mean to put words into `args`?"
        yield "process.command", words
    yield from _image(service.image)
    if service.health:
        yield from _probes(service, service.health)
    if service.restart_policy is RestartPolicy.NEVER and service.health and service.health.liveness:
        yield "health.liveness", "has no effect: restartPolicy is never, so a copy is not replaced"


def spilled(item: Item) -> Iterator[Said]:
    """Secrets in plain sight; the messages do not repeat them."""
    model = item.model
    if isinstance(model, Service):
        yield from _spilled("env", model.env)
    elif isinstance(model, Configmap):
        yield from _spilled("data", model.data)


def _spilled(field: str, texts: Mapping[str, str]) -> Iterator[Said]:
    for key, value in texts.items():
        looks = _KEYS.search(value[:_LOOKED_AT]) is not None
        if looks or (_SECRET_NAME.search(key) and not _NO_SECRET.fullmatch(value[:_LOOKED_AT])):
            yield (
                f"{field}.{key}",
                "looks like a secret that anybody can read here: keep it in a secret, and use envFrom",
            )


def _image(image: str) -> Iterator[Said]:
    if not image or "@" in image:
        return
    _, colon, tag = image.rpartition("/")[2].partition(":")
    if not colon:
        yield "image", "names no tag, which means latest: what runs changes by itself; name a version"
    elif tag == "latest":
        yield "image", "latest changes by itself, and no rollback brings the old one back; name a version"


def _probes(service: Service, health: HealthCheck) -> Iterator[Said]:
    for name, probe in (("liveness", health.liveness), ("readiness", health.readiness)):
        if probe is None:
            continue
        path = f"health.{name}"
        if probe.type is not ProbeType.EXEC and probe.port and not _is_declared(service, probe.port):
            yield (
                f"{path}.port",
                f"asks port {probe.port}, which the service does not declare{_ports(service)}",
            )
        if _timeout(probe) > (probe.period_seconds or 10):
            yield f"{path}.timeout_seconds", "is longer than the time between two questions"


def _is_declared(service: Service, number: int) -> bool:
    return not service.ports or any(number in (port.port, port.target_port) for port in service.ports)


def _ports(service: Service) -> str:
    numbers = ", ".join(str(port.target_port or port.port) for port in service.ports[:5])
    return f"; it declares {numbers}" if numbers else ""


def _timeout(probe: Probe) -> int:
    return probe.timeout_seconds or 1
