"""What a process is told about addresses, in variables: its own, and those of the services it depends on."""

from __future__ import annotations

import re

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.core.store.base import Store
from rune.orchestrator.spec import depends_on


def around(store: Store, instance: Instance, spec: Service) -> dict[str, str]:
    """The variables of a copy. The spec's own `env` stands above them."""
    return {**_of_dependencies(store, instance, spec), **_own(instance, spec)}


def _own(instance: Instance, spec: Service) -> dict[str, str]:
    """`HOST` and `PORT` are the words that many frameworks read by themselves."""
    if instance.runner != "process" or not instance.ip or not spec.ports:
        return {}
    ports = {port.name: port.target_port or port.port for port in spec.ports}
    found = {f"RUNE_PORT_{word(name)}": str(port) for name, port in ports.items() if name}
    first = str(next(iter(ports.values())))
    return {"HOST": instance.ip, "PORT": first, "RUNE_ADDRESS": instance.ip, **found}


def _of_dependencies(store: Store, instance: Instance, spec: Service) -> dict[str, str]:
    """Of two dependencies of one name in different namespaces, the first is told about."""
    found: dict[str, str] = {}
    for namespace, name in depends_on(spec):
        service = store.find(Service, namespace or instance.namespace, name)
        key = f"RUNE_SERVICE_{word(name)}"
        host = service and _host(service, instance)
        if not service or not host or f"{key}_HOST" in found:
            continue
        found[f"{key}_HOST"] = host
        ports = service.ports
        found[f"{key}_PORT"] = str(ports[0].port)
        found |= {f"{key}_PORT_{word(port.name)}": str(port.port) for port in ports if port.name}
    return found


def _host(service: Service, reader: Instance) -> str:
    """Where the reader finds the service: a container finds containers by name, and no process at all."""
    if reader.runner == "process":
        return service.address if service.ports else ""
    return f"{service.name}.{service.namespace}.rune" if service.runtime == "docker" and service.ports else ""


def word(name: str) -> str:
    """A name as a part of a variable's: `my-db` becomes `MY_DB`."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
