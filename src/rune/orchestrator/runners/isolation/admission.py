"""Whether a workload may run on this machine: refused, with every reason, is what cannot be enforced."""

from __future__ import annotations

from collections.abc import Iterator

from rune.errors import FailedPrecondition
from rune.orchestrator.runners import accounts
from rune.orchestrator.runners.base import Workload
from rune.orchestrator.runners.isolation.host import Feature, Host
from rune.orchestrator.runners.isolation.orders import Mode, wanted


def admit(workload: Workload, mode: Mode, host: Host) -> accounts.Account:
    """Who it runs as; raises FailedPrecondition with everything that this server cannot do for it.

    Looks users up, so it may wait for the machine's directory of them.
    """
    account = accounts.resolve(workload.user, workload.group)
    reasons = [*_reasons(workload, mode, host), *_root(account, mode, host)]
    if reasons:
        raise FailedPrecondition("cannot be enforced on this server: " + "; ".join(reasons))
    return account


def needs(workload: Workload, mode: Mode) -> dict[Feature, str]:
    """What has to be enforced, and which words of the spec ask for it."""
    limits, sandbox = workload.limits, wanted(workload, mode)
    asked = {
        Feature.SANDBOX: _asks(workload) or "runner.process.isolation: strict" if sandbox else "",
        Feature.CAPABILITIES: "capabilities" if sandbox and sandbox.capabilities else "",
        Feature.CPU: "resources.cpu" if limits.cpu or limits.cpu_request else "",
        Feature.MEMORY: "resources.memory" if limits.memory or limits.memory_request else "",
        Feature.PROCESSES: "max_processes" if limits.processes else "",
    }
    return {feature: why for feature, why in asked.items() if why}


def _reasons(workload: Workload, mode: Mode, host: Host) -> Iterator[str]:
    asked = needs(workload, mode)
    if mode == "none" and Feature.SANDBOX in asked:
        yield (
            f"{asked.pop(Feature.SANDBOX)} needs a sandbox, and runner.process.isolation is none:"
            " set it to default in the Runefile"
        )
    for feature, why in asked.items():
        if feature in host.lacks:
            yield f"{why} {host.lacks[feature]}"


def _root(account: accounts.Account, mode: Mode, host: Host) -> Iterator[str]:
    if mode == "strict" and host.is_root and account.uid <= 0:
        yield (
            "runner.process.isolation is strict and runed is root, so that a process needs a user of its own:"
            " set securityContext.user"
        )


def _asks(workload: Workload) -> str:
    """The words of the spec that ask for a sandbox."""
    asked = workload.isolation
    if asked is None:
        return "mounts" if workload.mounts else ""
    words = {
        "readOnlyFS": asked.read_only,
        "capabilities": asked.capabilities,
        "allowedSyscalls": asked.allowed_syscalls,
        "deniedSyscalls": asked.denied_syscalls,
    }
    return ", ".join(word for word, value in words.items() if value) or "securityContext"
