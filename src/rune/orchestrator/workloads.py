"""What a runner is asked to run, made from an instance and the template that it is a copy of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rune.api.orchestrator.instances import Instance
from rune.errors import InvalidArgument
from rune.orchestrator.runners.base import Workload
from rune.orchestrator.spec import Template


def workload(
    instance: Instance, template: Template, around: Mapping[str, str] = MappingProxyType({})
) -> Workload:
    """What the runner is asked to run; `around` are variables that the spec's own stand above."""
    spec = template.spec
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
    )


def identity(instance: Instance) -> dict[str, str]:
    """The variables that tell a copy who it is."""
    return {
        "RUNE_SERVICE_NAME": instance.service_name,
        "RUNE_SERVICE_NAMESPACE": instance.namespace,
        "RUNE_INSTANCE_ID": instance.id,
    }
