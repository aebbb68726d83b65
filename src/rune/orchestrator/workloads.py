"""What a runner is asked to run, made from an instance and the template that it is a copy of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ProcessSecurityContext, ServicePort
from rune.errors import InvalidArgument
from rune.orchestrator import images
from rune.orchestrator.quantities import limits
from rune.orchestrator.runners.base import Credentials, Isolation, Limits, Port, PullPolicy, Workload
from rune.orchestrator.spec import Template, template_name

Lookup = Callable[[str], Awaitable[Credentials | None]]
"""What the registry of an image wants to see; None for nobody in particular."""


async def anonymous(image: str) -> None:
    """Nobody in particular, whatever the image."""


def workload(
    instance: Instance, template: Template, around: Mapping[str, str] = MappingProxyType({})
) -> Workload:
    """What the runner is asked to run; `around` are variables that the spec's own stand above."""
    spec = template.spec
    if spec.image:
        return _container(instance, spec)
    process = spec.process
    if process is None:
        raise InvalidArgument("the service has no process to run")
    security = process.security_context
    return Workload(
        instance=instance.id,
        attempt=instance.attempt,
        namespace=instance.namespace,
        service=instance.service_name,
        command=[process.command, *process.args],
        env={**around, **spec.env, **identity(instance)},
        workdir=process.working_dir,
        user=security.user if security else "",
        group=security.group if security else "",
        limits=_process_limits(spec, security),
        isolation=isolation(security),
    )


async def with_credentials(asked: Workload, template: Template, lookup: Lookup) -> Workload:
    """The workload with what its registry wants to see, where an image may have to be pulled."""
    if not asked.image or template.spec.image_pull_anonymous or asked.pull is PullPolicy.NEVER:
        return asked
    return msgspec.structs.replace(asked, credentials=await lookup(asked.image))


def sketch(spec: Service) -> Workload:
    """What a copy of a service would be, for a runner that is asked whether it could run one."""
    instance = Instance(id=spec.name, name=spec.name, namespace=spec.namespace, service_name=spec.name)
    name = template_name(spec.name, 0)
    return workload(instance, Template(name=name, namespace=spec.namespace, generation=0, spec=spec))


def isolation(security: ProcessSecurityContext | None) -> Isolation | None:
    """The sandbox that is asked for; None when none is: a user, a group and limits need none."""
    if security is None:
        return None
    asked = Isolation(
        read_only=security.read_only_fs,
        capabilities=security.capabilities,
        allowed_syscalls=security.allowed_syscalls,
        denied_syscalls=security.denied_syscalls,
    )
    return None if asked == NOTHING else asked


NOTHING = Isolation(capabilities=[], allowed_syscalls=[], denied_syscalls=[])


def _process_limits(spec: Service, security: ProcessSecurityContext | None) -> Limits:
    processes = security.max_processes if security else 0
    return msgspec.structs.replace(limits(spec.resources), processes=processes)


def identity(instance: Instance) -> dict[str, str]:
    """The variables that tell a copy who it is."""
    return {
        "RUNE_SERVICE_NAME": instance.service_name,
        "RUNE_SERVICE_NAMESPACE": instance.namespace,
        "RUNE_INSTANCE_ID": instance.id,
    }


def _container(instance: Instance, spec: Service) -> Workload:
    return Workload(
        instance=instance.id,
        attempt=instance.attempt,
        namespace=instance.namespace,
        service=instance.service_name,
        image=spec.image,
        command=[spec.command] if spec.command else [],
        args=spec.args,
        env={**spec.env, **identity(instance)},
        labels=spec.labels,
        ports=[_port(port) for port in spec.ports],
        limits=limits(spec.resources),
        security=images.security(spec.security_context),
        pull=images.pull_policy(spec.image_pull),
    )


def _port(port: ServicePort) -> Port:
    """Published on every address of the host, when it is."""
    return Port(
        port=port.target_port or port.port,
        protocol=port.protocol or "tcp",
        publish=port.host_port or None,
        address="",
    )
