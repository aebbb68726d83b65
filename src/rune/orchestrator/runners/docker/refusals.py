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
FOLDER = re.compile(r'chdir to cwd \("(?P<name>[^"]*)"\)')
USER = re.compile(r"unable to find (?P<kind>user|group) (?P<name>[^:]*):")


class NoImage(FailedPrecondition):
    """The Engine does not have the image."""


class NoNetwork(FailedPrecondition):
    """The network of the namespace is not there."""


def explain(error: Refused, workload: Workload, *, path: str = "") -> FailedPrecondition:
    """The refusal of a start; `path` is where the container looks for programs."""
    reason, where = plain(error.reason), f"image {workload.image!r}"
    if "No such image" in reason:
        return NoImage(f"{where} is not on this machine")
    if re.search(r"network \S+ not found", reason) and not workload.networks:
        return NoNetwork(reason)
    if found := USER.search(reason):
        return FailedPrecondition(f"{found['kind']} {found['name']!r} does not exist in {where}")
    return FailedPrecondition(program(reason, where, path=path) or f"the Docker Engine: {reason}")


def plain(reason: str) -> str:
    """The reason alone."""
    return NOISE.sub("", reason.strip())


def program(reason: str, where: str, *, path: str = "") -> str:
    """What is wrong with the program to be run; empty when it is something else."""
    if found := FOLDER.search(reason):
        return f"folder {found['name']!r} does not exist in {where}"
    found = COMMAND.search(reason)
    if not found:
        return ""
    name, why = found["program"], found["reason"]
    if "executable file not found" in why:
        return f"command {name!r} not found in PATH{f': {path}' if path else ''} of {where}"
    if "no such file" in why:
        return f"command {name!r} does not exist in {where}"
    if "permission denied" in why or "is a directory" in why:
        return f"command {name!r} is not executable in {where}"
    return f"command {name!r} cannot be run in {where}: {why}"
