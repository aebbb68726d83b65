"""Turns the Engine's refusals into what a person can act on."""

from __future__ import annotations

import re

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Workload
from rune.orchestrator.runners.docker.engine import Refused

NOISE = re.compile(
    r"^(failed to create (shim task|task for container): )?"
    r"(OCI runtime (create|exec) failed: )?(runc create failed: |exec failed: )?"
    r"(unable to start container process: )?|: unknown$"
)
"""What the layers between us and the reason put before and after it."""

COMMAND = re.compile(r'exec: "(?P<program>[^"]*)": (?P<reason>.*)')
USER = re.compile(r"unable to find (?P<kind>user|group) (?P<name>[^:]*):")


class NoImage(FailedPrecondition):
    """The Engine does not have the image."""


class NoNetwork(FailedPrecondition):
    """The network of the namespace is not there."""


def explain(error: Refused, workload: Workload, *, path: str = "") -> FailedPrecondition:
    """The refusal of a start; `path` is where the container looks for programs."""
    reason = NOISE.sub("", error.reason.strip())
    if "No such image" in reason:
        return NoImage(f"image {workload.image!r}: {reason}")
    if re.search(r"network \S+ not found", reason) and not workload.networks:
        return NoNetwork(reason)
    if found := USER.search(reason):
        kind, name = found["kind"], found["name"]
        return FailedPrecondition(f"{kind} {name!r} does not exist in image {workload.image!r}")
    return FailedPrecondition(program(reason, workload.image, path=path) or f"the Docker Engine: {reason}")


def program(reason: str, image: str, *, path: str) -> str:
    """What is wrong with the program to be run; empty when it is something else."""
    found = COMMAND.search(NOISE.sub("", reason.strip()))
    if not found:
        return ""
    name, why = found["program"], found["reason"]
    if "executable file not found" in why:
        return f"command {name!r} not found in PATH: {path}"
    if "no such file" in why:
        return f"command {name!r} does not exist in {image}"
    if "permission denied" in why or "is a directory" in why:
        return f"command {name!r} is not executable in {image}"
    return f"command {name!r} cannot be run in {image}: {why}"
