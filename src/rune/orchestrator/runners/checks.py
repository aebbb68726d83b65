"""What every runner refuses before it touches the machine: workloads that no machine could run."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rune.errors import FailedPrecondition, InvalidArgument, Violation
from rune.orchestrator.runners.base import Command, Files, Limits, Mount, Observed, Port, State, Workload

INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
"""An instance's id is also the name of a folder and a cgroup: no slash, no leading dot, no surprises."""

NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""A namespace is part of the names of containers and networks, and of the names services have there."""

LAST_PORT = 65_535

LARGEST = 1 << 20
"""Bytes of a command with its environment. The kernel takes 2 MiB; past 1 MiB it is a mistake."""


def instance_id(instance: str) -> str:
    """The id itself; raises InvalidArgument for one that could leave its folder."""
    if not INSTANCE.fullmatch(instance):
        what = "must be 1 to 128 of A-Z a-z 0-9 _ . - and start with a letter or a digit"
        raise InvalidArgument.of([Violation("instance", f"{what}, not {instance[:140]!r}")])
    return instance


def workload(asked: Workload) -> Workload:
    """The workload itself; raises InvalidArgument with everything that is wrong with it."""
    instance_id(asked.instance)
    _refuse(list(_shape(asked)))
    return asked


def native(asked: Workload) -> Workload:
    """The workload itself; raises InvalidArgument also for what only a container can have."""
    instance_id(asked.instance)
    read = _read_back(asked)
    foreign = [
        Violation(field, "is for containers: this runner runs plain processes")
        for field in CONTAINER_ONLY
        if getattr(read, field) != getattr(PLAIN, field)
    ]
    absolute = [
        Violation(
            f"files[{position}].target", "must be a relative path: a process shares the machine's files"
        )
        for position, files in enumerate(asked.files)
        if files.target.startswith("/")
    ]
    _refuse([*_shape(asked), *foreign, *absolute, *_mounts(asked.mounts), *_limits(asked.limits)])
    return asked


def container(asked: Workload) -> Workload:
    """The workload itself; raises InvalidArgument with all that is wrong with it as a container."""
    instance_id(asked.instance)
    _refuse([*_shape(asked), *_container(asked)])
    return asked


def command(asked: Command) -> Command:
    """The command itself; raises InvalidArgument with everything that is wrong with it."""
    _refuse([*_command(asked.command), *_env(asked.env), *_text("workdir", asked.workdir)])
    return asked


def turn(asked: Workload, seen: Observed) -> bool:
    """Whether this attempt is to be started now; raises FailedPrecondition when it is not its turn."""
    if seen.state is State.ABSENT:
        return True
    if asked.attempt == seen.attempt:
        return False
    if asked.attempt < seen.attempt:
        message = f"attempt {asked.attempt} of {asked.instance} is over: the latest is {seen.attempt}"
        raise FailedPrecondition(message)
    if seen.state is State.RUNNING:
        message = f"attempt {seen.attempt} of {asked.instance} still runs: stop it before the next"
        raise FailedPrecondition(message)
    return True


def signal_number(name: str) -> int:
    """The number of a signal by its name, with or without SIG; raises InvalidArgument."""
    wanted = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    for known in signal.Signals:
        if known.name == wanted:
            return known.value
    raise InvalidArgument.of([Violation("signal", f"{name[:40]!r} is no signal of this machine")])


CONTAINER_ONLY = (
    "image",
    "args",
    "ports",
    "networks",
    "security",
    "credentials",
)


def _read_back(asked: Workload) -> Workload:
    """As it is after a way through JSON: lists where tuples may have been, so that equals compare equal."""
    return msgspec.convert(msgspec.to_builtins(asked), Workload)


PLAIN = _read_back(Workload(instance="plain"))


def _shape(asked: Workload) -> Iterator[Violation]:
    """What is wrong with it wherever it runs; with an image it needs no command."""
    if asked.command or not asked.image:
        yield from _command(asked.command)
    for position, argument in enumerate(asked.args):
        yield from _text(f"args[{position}]", argument)
    yield from _env(asked.env)
    yield from _text("workdir", asked.workdir)
    for position, files in enumerate(asked.files):
        yield from _files(f"files[{position}]", files)


def _files(field: str, files: Files) -> Iterator[Violation]:
    """Whatever asks for them has checked the paths; here nothing may leave its folder."""
    for path in (files.target.removeprefix("/"), *files.content):
        parts = path.split("/")
        if "\0" in path or any(part in ("", ".") or part.startswith("..") for part in parts):
            yield Violation(field, f"{path[:140]!r} is no path of a file below its folder")


def _container(asked: Workload) -> Iterator[Violation]:
    if not asked.image or not asked.image.isprintable() or " " in asked.image:
        yield Violation("image", f"must name an image, not {asked.image[:140]!r}")
    if not NAMESPACE.fullmatch(asked.namespace):
        yield Violation("namespace", f"must be a name of a-z 0-9 and -, not {asked.namespace[:70]!r}")
    if asked.group and not asked.user:
        yield Violation("group", "needs a user beside it in a container")
    if asked.workdir and not asked.workdir.startswith("/"):
        yield Violation("workdir", "must be an absolute path of the container")
    for position, port in enumerate(asked.ports):
        yield from _port(f"ports[{position}]", port)
    yield from _mounts(asked.mounts)
    for position, files in enumerate(asked.files):
        if not files.target.startswith("/"):
            yield Violation(f"files[{position}].target", "must be an absolute path of the container")
    yield from _limits(asked.limits)


def _limits(limits: Limits) -> Iterator[Violation]:
    for field in Limits.__struct_fields__:
        if getattr(limits, field) < 0:
            yield Violation(f"limits.{field}", "must not be negative")


def _mounts(mounts: Sequence[Mount]) -> Iterator[Violation]:
    for position, mount in enumerate(mounts):
        for field, path in (("source", mount.source), ("target", mount.target)):
            if not path.startswith("/") or "\0" in path:
                yield Violation(
                    f"mounts[{position}].{field}", f"must be an absolute path, not {path[:140]!r}"
                )


def _port(field: str, port: Port) -> Iterator[Violation]:
    if not 0 < port.port <= LAST_PORT:
        yield Violation(f"{field}.port", f"must be 1 to {LAST_PORT}, not {port.port}")
    if port.publish is not None and not 0 <= port.publish <= LAST_PORT:
        yield Violation(f"{field}.publish", f"must be 0 to {LAST_PORT}, not {port.publish}")
    if port.protocol not in {"tcp", "udp"}:
        yield Violation(f"{field}.protocol", f"must be tcp or udp, not {port.protocol[:40]!r}")


def _refuse(found: Sequence[Violation]) -> None:
    if found:
        raise InvalidArgument.of(found)


def _command(argv: Sequence[str]) -> Iterator[Violation]:
    if not argv or not argv[0]:
        yield Violation("command", "must name a program")
    for position, argument in enumerate(argv):
        yield from _text(f"command[{position}]", argument)


def _env(env: Mapping[str, str]) -> Iterator[Violation]:
    for name, value in env.items():
        if not name or "=" in name:
            yield Violation("env", f"{name[:40]!r} is no name of a variable")
        yield from _text("env", name)
        yield from _text(f"env.{name[:40]}", value)
    if sum(len(name) + len(value) for name, value in env.items()) > LARGEST:
        yield Violation("env", f"must be at most {LARGEST} characters in all")


def _text(field: str, text: str) -> Iterator[Violation]:
    if "\0" in text:
        yield Violation(field, "must not hold a NUL character")
    if len(text) > LARGEST:
        yield Violation(field, f"must be at most {LARGEST} characters")
