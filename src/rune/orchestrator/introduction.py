"""Introduction: what a copy of an agent gets so that it can speak to this server, and as nobody else.

Each start of a copy has an API key of its own, narrowed to the agent's events. Its text goes to the runner
and is kept nowhere; of the key the store has a hash. The key is gone as soon as that start is over.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.core.apikeys import ApiKey, mint
from rune.core.authority import Pass
from rune.core.clock import Clock
from rune.core.store.base import Put, Store
from rune.errors import FailedPrecondition, Unavailable
from rune.orchestrator.runners.base import Files, Workload
from rune.orchestrator.waiting import unguarded

ORGANIZATION: Final = "default"
"""Whose the agents of services are: namespaces belong to the organization of the server itself."""
PATIENCE: Final = 30.0
"""Seconds that a copy waits for the doors of a server that has just started."""
MACHINE: Final = "host.docker.internal"
"""What containers call the machine that they run on."""
HOME: Final = "rune-agent"
"""The folder of the files, below RUNE_MOUNTS or in the container's /run."""
PASS: Final = "rune-pass"  # noqa: S105 - a folder
"""The folder of its certificate below RUNE_MOUNTS, where others do not read."""
SHOWN: Final = {"RUNE_CERT_FILE": "pass.pem", "RUNE_KEY_FILE": "pass-key.pem"}
KEY: Final = "RUNE_API_KEY"
Issue = Callable[[], Pass]
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Introduces(Protocol):
    """Makes workloads known to the control plane."""

    async def introduced(self, workload: Workload, instance: Instance, spec: Service) -> Workload:
        """The workload with its credentials; as it is where it is no agent.

        Raises FailedPrecondition while it must not start, Unavailable while nobody can be reached.
        """
        ...

    def forget(self, instance: str) -> None:
        """The instance has started, or is gone."""
        ...


class Nobody:
    """Introduces nobody: services of agents do not start."""

    async def introduced(self, workload: Workload, instance: Instance, spec: Service) -> Workload:
        """The workload as it is."""
        if spec.agent is not None:
            raise FailedPrecondition("this server has no agent-security plane")
        return workload

    def forget(self, instance: str) -> None:
        """There is nothing to forget."""


NOBODY: Final = Nobody()


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where agents reach this server."""

    url: str
    ca_file: str = ""
    """Who signed the server's certificate; empty where that is an authority that everybody knows."""
    issue: Issue | None = None
    """Makes what the door asks clients for; None where it asks for no certificate."""


class Door:
    """The endpoint, once this server listens."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._endpoint = Endpoint(url="")

    def opens(self, endpoint: Endpoint) -> None:
        """From now on it is there."""
        self._endpoint = endpoint
        self._open.set()

    async def endpoint(self) -> Endpoint:
        """Where it is; raises Unavailable when that is not known in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._open.wait()
        except TimeoutError as error:
            raise Unavailable("the doors of this server are not open yet") from error
        return self._endpoint


class Introductions:
    """Introduces the copies of agents."""

    def __init__(self, store: Store, door: Door, *, clock: Clock) -> None:
        self._store = store
        self._door = door
        self._clock = clock
        self._texts: dict[str, tuple[int, str]] = {}
        """By instance: the attempt that is about to start, and its key. A start that is asked for again must
        find the key that the first time may have been given away already."""
        self._passes: dict[str, tuple[int, Mapping[str, bytes]]] = {}
        """As the keys."""

    async def introduced(self, workload: Workload, instance: Instance, spec: Service) -> Workload:
        """The workload with its key, and where to bring it."""
        if spec.agent is None:
            return workload
        self._refuse(instance)
        endpoint = await self._door.endpoint()
        key = await self._key(instance, spec.agent.id)
        told = {
            "RUNE_AGENT_ID": spec.agent.id,
            "RUNE_DEFAULT_AGENT_ID": spec.agent.id,
            "RUNE_SERVICE": f"{instance.namespace}/{instance.service_name}",
            "RUNE_INSTANCE": instance.id,
        }
        if spec.agent.tags:
            told["RUNE_DEFAULT_AGENT_TAGS"] = ",".join(spec.agent.tags)
        shown = self._shown(instance, endpoint)
        give = _to_container if workload.image else _to_process
        return give(workload, endpoint, {**told, KEY: key}, shown=shown)

    def forget(self, instance: str) -> None:
        """Nobody asks for its key again."""
        self._texts.pop(instance, None)
        self._passes.pop(instance, None)

    def _shown(self, instance: Instance, endpoint: Endpoint) -> Mapping[str, bytes]:
        """A certificate of this start's own where the door asks for one; who comes, the API key says."""
        if endpoint.issue is None:
            return {}
        attempt, shown = self._passes.get(instance.id, (0, {}))
        if attempt != instance.attempt:
            made = endpoint.issue()
            shown = {"pass.pem": made.certificate, "pass-key.pem": made.key}
            self._passes[instance.id] = (instance.attempt, shown)
        return shown

    def _refuse(self, instance: Instance) -> None:
        """The store's word of this moment: between the plan and the start an agent may be quarantined."""
        service = self._store.find(Service, instance.namespace, instance.service_name)
        if service is None or service.guard is None or service.guard.quarantined:
            raise FailedPrecondition("the agent is in quarantine, or its service is gone")
        why = unguarded(service)
        if why:
            raise FailedPrecondition(why)

    async def _key(self, instance: Instance, agent: str) -> str:
        attempt, text = self._texts.get(instance.id, (0, ""))
        if attempt == instance.attempt:
            return text
        prefix, hashed, text = mint()
        key = ApiKey(
            prefix=prefix,
            name=f"instance {instance.id}",
            organization=ORGANIZATION,
            agent_id=agent,
            instance=f"{instance.namespace}/{instance.id}",
            attempt=instance.attempt,
            created_at=self._clock.now(),
            created_by="runed",
            hash=hashed,
        )
        await self._store.commit(Put(key), operation="introduce.instance")
        self._texts[instance.id] = (instance.attempt, text)
        return text


def _to_process(
    workload: Workload, endpoint: Endpoint, told: Mapping[str, str], *, shown: Mapping[str, bytes]
) -> Workload:
    """The key in the environment, which rests in memory alone; the authority in a file that it can read."""
    env = {**workload.env, **told, "RUNE_ENDPOINT": endpoint.url}
    files, paths = [*workload.files], {**workload.paths}
    if endpoint.ca_file:
        files.append(Files(target=HOME, content=_authority(endpoint), is_secret=False))
        paths["RUNE_CA_FILE"] = f"{HOME}/ca.pem"
    if shown:
        files.append(Files(target=PASS, content=shown))
        paths |= {variable: f"{PASS}/{name}" for variable, name in SHOWN.items()}
    return msgspec.structs.replace(workload, env=env, files=files, paths=paths)


def _to_container(
    workload: Workload, endpoint: Endpoint, told: Mapping[str, str], *, shown: Mapping[str, bytes]
) -> Workload:
    """The key in a file: what is in a container's environment, the Engine writes to its disk."""
    home = f"/run/{HOME}"
    content = {"api-key": told[KEY].encode(), **_authority(endpoint), **shown}
    plain = {name: value for name, value in told.items() if name != KEY}
    env = {**workload.env, **plain, "RUNE_ENDPOINT": _outside(endpoint.url)}
    env[f"{KEY}_FILE"] = f"{home}/api-key"
    if endpoint.ca_file:
        env["RUNE_CA_FILE"] = f"{home}/ca.pem"
    if shown:
        env |= {variable: f"{home}/{name}" for variable, name in SHOWN.items()}
    files = [*workload.files, Files(target=home, content=content)]
    return msgspec.structs.replace(workload, env=env, files=files, hosts=(MACHINE,))


def _outside(url: str) -> str:
    """The endpoint as containers reach it; raises FailedPrecondition where none can."""
    if urlsplit(url).hostname not in LOOPBACK:
        return url
    raise FailedPrecondition(
        f"no container reaches this server at {url}: let it listen on another address too (server.http-addr),"
        f" and say in agents.endpoint where that is, such as http://{MACHINE}:7861"
    )


def _authority(endpoint: Endpoint) -> dict[str, bytes]:
    if not endpoint.ca_file:
        return {}
    try:
        return {"ca.pem": Path(endpoint.ca_file).read_bytes()}
    except OSError as error:
        raise FailedPrecondition(f"agents.ca-file {endpoint.ca_file}: {error.strerror}") from error


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """How the server's HTTP door stands open."""

    host: str
    port: int
    names: Sequence[str] | None = None
    """Whom its certificate is for; None without TLS."""
    issue: Issue | None = None
    """Makes the certificates that it asks clients for, if it asks."""


def endpoint_of(listening: Listening, *, url: str = "", ca_file: str = "") -> Endpoint:
    """Where agents on this machine reach a door; what the settings say goes before what can be guessed."""
    if url or listening.names is None:
        found = url or f"http://{_bracketed(_local(listening.host))}:{listening.port}"
        return Endpoint(url=found, ca_file=ca_file, issue=listening.issue)
    host = _named(_local(listening.host), listening.names)
    return Endpoint(
        url=f"https://{_bracketed(host)}:{listening.port}", ca_file=ca_file, issue=listening.issue
    )


def _named(host: str, names: Sequence[str]) -> str:
    """The name of the certificate that leads here: the address itself, loopback, or its first name."""
    plain = [name for name in names if not name.startswith("*")]
    return next((name for name in (host, *LOOPBACK, *plain) if name in plain), host)


def _local(host: str) -> str:
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what it is instead


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    except ValueError:
        return host
