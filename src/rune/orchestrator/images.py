"""What a service with an image may say beyond what any service may, and what a container is to have of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import SecurityContext
from rune.errors import Unimplemented, Violation
from rune.orchestrator import quantities
from rune.orchestrator.runners.base import PullPolicy, Security

REFERENCE: Final = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(:\d{1,5})?/|\[[0-9a-fA-F:]+\](:\d{1,5})?/)?"
    r"[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,128})?",
    re.ASCII,
)
LONGEST_REFERENCE: Final = 512
CAPABILITY: Final = re.compile(r"(?:CAP_)?([A-Z][A-Z_]{1,40})", re.ASCII)
ALL: Final = "ALL"
HARMLESS: Final = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
"""What the Engine gives every container; whatever goes beyond it may be a way out."""
PULLS: Final[Mapping[str, PullPolicy]] = {
    "": PullPolicy.MISSING,
    "missing": PullPolicy.MISSING,
    "ifnotpresent": PullPolicy.MISSING,
    "always": PullPolicy.ALWAYS,
    "never": PullPolicy.NEVER,
}
"""The words for when to pull, in lower case."""
DEFAULT, UNCONFINED, LOCALHOST = "runtimedefault", "unconfined", "localhost"
LEAST_MEMORY: Final = 6 << 20
"""Bytes: the Engine takes no smaller limit."""
LEAST_CPU: Final = 0.01
CONTAINER_ONLY: Final = ("security_context", "image_pull", "image_pull_anonymous")


def violations(spec: Service) -> Iterator[Violation]:
    """Everything that is wrong with it as a container, or that only a container may have."""
    if not spec.image:
        for name in CONTAINER_ONLY:
            if getattr(spec, name) not in (None, "", False, SecurityContext()):
                yield Violation(name, "is for services with an image: this one is a process")
        return
    if len(spec.image) > LONGEST_REFERENCE or not REFERENCE.fullmatch(spec.image):
        yield Violation(
            "image", f"{spec.image[:140]!r} names no image: write [HOST[:PORT]/]name[:tag][@digest]"
        )
    if spec.image_pull.lower() not in PULLS:
        yield Violation("image_pull", f"must be always, missing or never, not {spec.image_pull[:40]!r}")
    yield from _port_violations(spec)
    yield from _floor_violations(spec)
    yield from _security_violations(spec.security_context or SecurityContext())


def pull_policy(word: str) -> PullPolicy:
    """When the image is asked for at its registry; of a word without violations."""
    return PULLS[word.lower()]


def security(context: SecurityContext | None) -> Security:
    """What the container may do; raises Unimplemented for a profile that would have to be a file."""
    if context is None:
        return Security()
    profile = context.seccomp_profile
    refuse_profile(context)
    return Security(
        cap_add=[_capability(name) for name in context.cap_add],
        cap_drop=[_capability(name) for name in context.cap_drop],
        privileged=context.privileged,
        seccomp="unconfined" if profile and profile.type.lower() == UNCONFINED else "",
    )


def refuse_profile(context: SecurityContext) -> None:
    """Raises Unimplemented for a seccomp profile of the operator's own."""
    profile = context.seccomp_profile
    if profile and (profile.localhost_profile or profile.type.lower() == LOCALHOST):
        raise Unimplemented(
            "service.security_context.seccomp_profile.localhost_profile is not supported:"
            " RuntimeDefault and Unconfined are"
        )


def powers(spec: Service) -> str:
    """What the spec asks for that may lead out of the container, by its field; empty for nothing."""
    context = spec.security_context
    if context is None:
        return ""
    if context.privileged:
        return "security_context.privileged"
    if context.seccomp_profile and context.seccomp_profile.type.lower() == UNCONFINED:
        return "security_context.seccomp_profile"
    beyond = [name for name in context.cap_add if _capability(name) not in HARMLESS]
    return f"security_context.cap_add {beyond[0]}" if beyond else ""


def _port_violations(spec: Service) -> Iterator[Violation]:
    taken: set[tuple[int, str]] = set()
    for at, port in enumerate(spec.ports):
        if not port.host_port:
            continue
        where, published = f"ports[{at}].host_port", (port.host_port, port.protocol or "tcp")
        if published in taken:
            yield Violation(where, f"{port.host_port}/{published[1]} is used twice")
        if spec.scale > 1:
            yield Violation(where, f"is one port of this machine: {spec.scale} copies cannot share it")
        taken.add(published)


def _floor_violations(spec: Service) -> Iterator[Violation]:
    if any(True for _ in quantities.violations(spec.resources)):
        return  # they are told elsewhere
    limits = quantities.limits(spec.resources)
    if 0 < limits.cpu < LEAST_CPU:
        yield Violation("resources.cpu.limit", "must be at least 10m for a container")
    for name, amount in (("limit", limits.memory), ("request", limits.memory_request)):
        if 0 < amount < LEAST_MEMORY:
            yield Violation(f"resources.memory.{name}", "must be at least 6Mi for a container")


def _security_violations(context: SecurityContext) -> Iterator[Violation]:
    for field in ("cap_add", "cap_drop"):
        for at, name in enumerate(getattr(context, field)):
            if not CAPABILITY.fullmatch(name.upper()):
                yield Violation(f"security_context.{field}[{at}]", f"{name[:40]!r} is no capability")
    profile = context.seccomp_profile
    if profile and profile.type.lower() not in ("", DEFAULT, UNCONFINED, LOCALHOST):
        yield Violation(
            "security_context.seccomp_profile.type",
            f"must be RuntimeDefault or Unconfined, not {profile.type[:40]!r}",
        )


def _capability(name: str) -> str:
    """As the Engine writes it: `net_admin` and `CAP_NET_ADMIN` are NET_ADMIN."""
    return name.upper().removeprefix("CAP_")
