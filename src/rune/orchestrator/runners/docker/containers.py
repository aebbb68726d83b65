"""What a container is to us: a workload written as the Engine wants it, and the Engine's words read back.

Each attempt of an instance is a container of its own, never one container started again: its labels say
which attempt it is, so that a restart of runed knows without notes of its own; an end is kept by the
Engine until we have read it; every attempt begins with a fresh file system and may have another
environment; and its log is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from rune.orchestrator.runners.base import Mount, Observed, Port, Security, State, Workload

OWNER = "rune.owner"
NAMESPACE = "rune.namespace"
SERVICE = "rune.service"
INSTANCE = "rune.instance"
ATTEMPT = "rune.attempt"

LOG = {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}}
"""The one driver whose logs can be read back whole on every Engine; at most 16 MB an attempt."""

PERIOD = 100_000
"""Microseconds of the scheduler's period in which a limit of CPU is counted."""

SHARES = 1024
"""CPU shares of one core."""

DISCOVERY = "rune"
"""The last part of the names of services."""


class Status(msgspec.Struct, frozen=True, rename="pascal"):
    """The state of a container."""

    status: str = ""
    running: bool = False
    paused: bool = False
    oom: bool = msgspec.field(name="OOMKilled", default=False)
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


class Settings(msgspec.Struct, frozen=True, rename="pascal"):
    """What a container was made from."""

    labels: dict[str, str] | None = None
    stop_signal: str = ""
    env: list[str] | None = None


class Host(msgspec.Struct, frozen=True, rename="pascal"):
    """What a container may have of its host."""

    memory: int = 0


class Endpoint(msgspec.Struct, frozen=True, rename="pascal"):
    """A container in one network."""

    address: str = msgspec.field(name="IPAddress", default="")


class Binding(msgspec.Struct, frozen=True, rename="pascal"):
    """A port of the host."""

    host_port: str = ""


class Connected(msgspec.Struct, frozen=True, rename="pascal"):
    """How a container is reached."""

    networks: dict[str, Endpoint | None] | None = None
    ports: dict[str, list[Binding] | None] | None = None


class Container(msgspec.Struct, frozen=True, rename="pascal"):
    """A container as `inspect` shows it."""

    id: str
    state: Status
    config: Settings
    host: Host = msgspec.field(name="HostConfig", default=Host())
    network: Connected = msgspec.field(name="NetworkSettings", default=Connected())

    @property
    def labels(self) -> Mapping[str, str]:
        """Ours and those of others."""
        return self.config.labels or {}

    def belongs(self, owner: str, instance: str) -> bool:
        """Whether it is an attempt of this instance, and not something that merely bears a label of ours."""
        wanted = (owner, instance)
        whole = self.labels.get(ATTEMPT, "").isdecimal() and self.labels.get(NAMESPACE)
        return bool(whole) and (self.labels.get(OWNER), self.labels.get(INSTANCE)) == wanted

    @property
    def attempt(self) -> int:
        """Which attempt of its instance it is."""
        return int(self.labels[ATTEMPT])


class Created(msgspec.Struct, frozen=True, rename="pascal"):
    """The answer to a request that makes something."""

    id: str


class Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """A container as a list shows it."""

    id: str
    labels: dict[str, str]

    @property
    def instance(self) -> str:
        """Whose attempt it is."""
        return self.labels.get(INSTANCE, "")


def network_name(owner: str, namespace: str) -> str:
    """The network of a namespace."""
    return f"{owner}-{namespace}"


def name(owner: str, workload: Workload) -> str:
    """Unique by its attempt alone: a namespace has no dot, and the attempt comes last."""
    return f"{owner}.{workload.namespace}.{workload.instance}.{workload.attempt}"


def labels(owner: str, workload: Workload) -> dict[str, str]:
    """The workload's own, and ours, which win."""
    return {
        **workload.labels,
        "rune.managed": "true",
        OWNER: owner,
        NAMESPACE: workload.namespace,
        SERVICE: workload.service,
        INSTANCE: workload.instance,
        ATTEMPT: str(workload.attempt),
    }


def config(owner: str, workload: Workload) -> dict[str, Any]:
    """The body of the request that makes the container."""
    network = network_name(owner, workload.namespace)
    body: dict[str, Any] = {
        "Image": workload.image,
        "Env": [f"{variable}={value}" for variable, value in workload.env.items()],
        "WorkingDir": workload.workdir,
        "User": f"{workload.user}:{workload.group}" if workload.group else workload.user,
        "Labels": labels(owner, workload),
        "ExposedPorts": {f"{port.port}/{port.protocol}": {} for port in workload.ports},
        "HostConfig": _host(workload, network),
        "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": aliases(workload)}}},
    }
    if workload.command:
        body["Entrypoint"] = list(workload.command)
    if workload.args:
        body["Cmd"] = list(workload.args)
    return body


def aliases(workload: Workload) -> list[str]:
    """The names by which others in the namespace find the service."""
    return _aliases(workload.service, workload.namespace)


def aliases_of(container: Container) -> list[str]:
    """The same of a container that was made."""
    return _aliases(container.labels.get(SERVICE, ""), container.labels.get(NAMESPACE, ""))


def _aliases(service: str, namespace: str) -> list[str]:
    local = f"{service}.{namespace}"
    return [service, local, f"{local}.{DISCOVERY}"] if service else []


def _host(workload: Workload, network: str) -> dict[str, Any]:
    limits, security = workload.limits, workload.security
    return {
        "NetworkMode": network,
        "RestartPolicy": {"Name": "no"},  # runed owns the back-off, and counts the attempts
        "LogConfig": LOG,
        "PortBindings": _bindings(workload.ports),
        "Mounts": [_mount(mount) for mount in workload.mounts],
        "CpuPeriod": PERIOD if limits.cpu else 0,
        "CpuQuota": max(int(limits.cpu * PERIOD), 1000) if limits.cpu else 0,
        "CpuShares": max(int(limits.cpu_request * SHARES), 2) if limits.cpu_request else 0,
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "MemoryReservation": limits.memory_request,
        "ExtraHosts": [f"{name}:host-gateway" for name in workload.hosts],
        "PidsLimit": limits.processes or None,
        "ReadonlyRootfs": security.read_only_root,
        "Tmpfs": _scratch(workload),
        "CapAdd": list(security.cap_add),
        "CapDrop": list(security.cap_drop),
        "Privileged": security.privileged,
        "SecurityOpt": _options(security),
    }


def _options(security: Security) -> list[str]:
    seccomp = [f"seccomp={security.seccomp}"] if security.seccomp else []
    return seccomp if security.privileged else ["no-new-privileges", *seccomp]


def _scratch(workload: Workload) -> dict[str, str]:
    """A /tmp to write to where the rest is read-only, unless something is mounted there."""
    taken = any(mount.target.rstrip("/") == "/tmp" for mount in workload.mounts)  # noqa: S108 - a path inside the container
    return {"/tmp": "mode=1777"} if workload.security.read_only_root and not taken else {}  # noqa: S108 - as above


def _mount(mount: Mount) -> dict[str, Any]:
    """A bind that fails when its source is missing, where the shorter form would make a folder."""
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _bindings(ports: Sequence[Port]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        if port.publish is not None:
            binding = {"HostIp": port.address, "HostPort": str(port.publish or "")}
            found.setdefault(f"{port.port}/{port.protocol}", []).append(binding)
    return found


def observed(container: Container) -> Observed:
    """What it means for the instance; one that was made and never started is absent."""
    state = container.state
    seen = Observed(
        instance=container.labels[INSTANCE],
        attempt=container.attempt,
        state=State.RUNNING,
        started_at=moment(state.started_at),
        container=container.id,
    )
    if state.running:
        return msgspec.structs.replace(
            seen, pid=state.pid, address=_address(container), published=_published(container.network.ports)
        )
    if state.status == "created":
        return msgspec.structs.replace(seen, state=State.ABSENT, started_at=None)
    ended = moment(state.finished_at)
    return msgspec.structs.replace(
        seen,
        state=State.EXITED,
        # The Engine takes the time of a start after it, so that a quick end may seem to come first.
        ended_at=max(ended, seen.started_at) if ended and seen.started_at else ended,
        exit_code=state.exit_code,
        message=_why(container),
    )


def _why(container: Container) -> str:
    if container.state.oom:
        limit = container.host.memory
        within = f" of {limit / (1 << 20):g} MiB" if limit else ""
        return f"killed by the kernel: out of memory{within}"
    return container.state.error


def _address(container: Container) -> str:
    """Where it is in the network of its namespace, or wherever it is."""
    networks = container.network.networks or {}
    own = network_name(container.labels.get(OWNER, ""), container.labels.get(NAMESPACE, ""))
    found = networks.get(own) or next(iter(networks.values()), None)
    return found.address if found else ""


def _published(ports: Mapping[str, Sequence[Binding] | None] | None) -> dict[str, int]:
    return {port: int(bindings[0].host_port) for port, bindings in (ports or {}).items() if bindings}


def search_path(container: Container) -> str:
    """Where it looks for programs."""
    prefix = "PATH="
    paths = [variable for variable in container.config.env or () if variable.startswith(prefix)]
    return paths[-1].removeprefix(prefix) if paths else ""


def moment(text: str) -> datetime | None:
    """The Engine's way to write a time; None for its way to write that there is none."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
