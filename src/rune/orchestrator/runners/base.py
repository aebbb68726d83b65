"""The runner's interface: what a machine does for one instance, and what it saw."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from rune.errors import Unavailable


class Pulling(Unavailable):
    """It runs as soon as its image is here; ask again."""


class State(StrEnum):
    """What a runner can see of an instance."""

    ABSENT = "absent"
    RUNNING = "running"
    EXITED = "exited"


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port that the workload listens on."""

    port: int
    protocol: str = "tcp"
    """`tcp` or `udp`."""
    publish: int | None = None
    """The port of the host that leads to it; 0 lets the engine choose, None publishes nothing."""
    address: str = "127.0.0.1"
    """The host's address that is listened on, when it is published."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder of the host inside the workload's file system."""

    source: str
    """An absolute path of the host; it must be there."""
    target: str
    """An absolute path of the workload."""
    read_only: bool = True


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Files that a workload finds in a folder of its own: the keys of a secret or a configmap."""

    target: str
    """A folder: an absolute path of a container, a path below RUNE_MOUNTS of a plain process."""
    content: Mapping[str, bytes]
    """By path below the target."""
    is_secret: bool = True
    """Only the workload's user may read them."""

    def __repr__(self) -> str:
        return f"Files({self.target!r}, {sorted(self.content)}, ***)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("target", self.target), ("paths", sorted(self.content))]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What it may use; 0 means no limit."""

    cpu: float = 0
    """Cores."""
    memory: int = 0
    """Bytes, with no swap on top; past them the kernel kills it."""
    cpu_request: float = 0
    """Cores it is promised where others want them too."""
    memory_request: int = 0
    """Bytes it is left with when the machine runs short."""
    processes: int = 0


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """What a container may do. It never gains rights by what it executes, unless it is privileged."""

    read_only_root: bool = False
    """Nothing can be written but mounts and a /tmp of its own."""
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    """`ALL` drops the engine's own set; what `cap_add` names stays."""
    seccomp: str = ""
    """A profile as JSON, or `unconfined`; empty means the engine's own profile."""
    privileged: bool = False


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """The sandbox of a process: process ids, /tmp and devices of its own, nothing of runed's to be seen."""

    read_only: bool = False
    """Nothing can be written but its folder and /tmp."""
    capabilities: Sequence[str] = ()
    """Those it keeps; it loses all others, also as root."""
    allowed_syscalls: Sequence[str] = ()
    """Any other fails with EPERM; empty allows all but the dangerous."""
    denied_syscalls: Sequence[str] = ()
    """They fail with EPERM."""


class PullPolicy(StrEnum):
    """When an image is asked for at its registry."""

    MISSING = "missing"
    """Only when this machine does not have it."""
    ALWAYS = "always"
    """At every start; it fails when the registry is out of reach, whatever this machine has."""
    NEVER = "never"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry wants to see before it gives an image away."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """In place of a name and a password."""
    server: str = ""
    """The registry they are for; empty means that of the image."""

    def __repr__(self) -> str:
        return f"Credentials(server={self.server!r}, ***)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("server", self.server)]


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run: everything a runner must know, and nothing about why."""

    instance: str
    """The instance's id, unique for ever; also the name of its folder, cgroup or container."""
    attempt: int = 0
    """Counts up with each restart, so that a late answer about the last attempt is not taken for this one."""
    namespace: str = "default"
    service: str = ""
    command: Sequence[str] = ()
    """Program and arguments; a program without a slash is looked for in PATH of `env`, then of runed.
    With an image it stands in for the image's entrypoint and arguments; empty leaves them."""
    env: Mapping[str, str] = {}
    """The whole environment of the workload; nothing is inherited from runed but PATH when it is absent.
    With an image it is added to the image's own."""
    workdir: str = ""
    """Where it starts; empty means a scratch folder of the instance, or what the image says."""
    user: str = ""
    group: str = ""
    files: Sequence[Files] = ()
    """Given to it before it starts; values may be secrets, and rest nowhere but where they are mounted."""
    paths: Mapping[str, str] = {}
    """Variables of a process that say where one of its files is, as a path below RUNE_MOUNTS."""
    limits: Limits = Limits()
    mounts: Sequence[Mount] = ()
    """For a process they mean a sandbox, since nobody else may see them; their targets must be there."""
    isolation: Isolation | None = None
    """For a process; None runs it like any program of its user, but for rights it might gain."""

    # What follows is for containers.
    image: str = ""
    args: Sequence[str] = ()
    """Arguments of `command`, or of the image's entrypoint in place of the image's own arguments."""
    labels: Mapping[str, str] = {}
    ports: Sequence[Port] = ()
    hosts: Sequence[str] = ()
    """Names that lead to this machine."""
    networks: Sequence[str] = ()
    """Networks of the engine to join besides that of the namespace; they must be there."""
    security: Security = Security()
    pull: PullPolicy = PullPolicy.MISSING
    credentials: Credentials | None = None

    def __repr__(self) -> str:
        """Without the values of variables and files, which may be secrets."""
        shown = {
            name: getattr(self, name)
            for name in ("namespace", "service", "command", "image")
            if getattr(self, name)
        }
        return f"Workload({self.instance}, attempt={self.attempt}, {shown}, ***)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("instance", self.instance), ("attempt", self.attempt)]


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner saw of one instance."""

    instance: str
    attempt: int = 0
    state: State
    pid: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    """The exit code, 128 + signal for one that was killed, None when nobody could see it."""
    message: str = ""
    address: str = ""
    """Where its ports are reached from this machine while it runs; empty means at the machine's own."""
    published: Mapping[str, int] = {}
    """The host's port for each published one (`8080/tcp`), while it runs."""
    container: str = ""
    """The engine's id of the container of this attempt; empty for a process."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance had used at one moment."""

    instance: str
    at: datetime
    cpu_seconds: float
    """Of all cores together, since its start."""
    memory: int
    """Bytes in use, without what the kernel merely caches."""
    memory_limit: int = 0
    """Bytes; 0 means none."""

    def cpu_percent(self, since: Usage) -> float:
        """Of one core, between an earlier moment and this one; 0 across a restart."""
        seconds = (self.at - since.at).total_seconds()
        used = self.cpu_seconds - since.cpu_seconds
        return 100 * used / seconds if seconds > 0 and used > 0 else 0.0


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a workload wrote; a line past 64 KiB comes in parts, all but the last with `partial`."""

    instance: str
    at: datetime
    stream: str
    """`stdout` or `stderr`."""
    text: str
    """Without the newline; bytes that are not UTF-8 come as U+FFFD."""
    partial: bool = False


class Session(Protocol):
    """A command that runs inside an instance, and the way to talk to it."""

    def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """Chunks with their stream (`stdout`, `stderr`), until both are closed."""
        ...

    async def write(self, data: bytes) -> None:
        """To the command's stdin; waits while the command does not read."""
        ...

    async def end_input(self) -> None:
        """Close stdin. Twice is fine."""
        ...

    async def resize(self, width: int, height: int) -> None:
        """Columns and rows of the terminal; nothing for a session without one."""
        ...

    async def signal(self, name: str) -> None:
        """Send a signal by name, with or without SIG; raises InvalidArgument for an unknown one."""
        ...

    async def wait(self) -> int:
        """The exit code, 128 + signal for one that was killed."""
        ...

    async def close(self) -> None:
        """Kill what is left of it and free everything. Twice is fine."""
        ...


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to run inside an instance."""

    command: Sequence[str]
    env: Mapping[str, str] = {}
    """Added to the instance's own environment."""
    workdir: str = ""
    tty: bool = False
    width: int = 80
    height: int = 24


class Runner(Protocol):
    """One machine's way to run instances. Every verb may be called twice, and after a restart of runed."""

    name: str

    async def start(self) -> None:
        """Get in touch with whatever runs already; raises Unavailable when the engine is out of reach."""
        ...

    async def ensure(self, workload: Workload) -> Observed:
        """Run it. This attempt runs or has ended already: returns what is seen and starts nothing.

        A new attempt of an instance whose last attempt still runs raises FailedPrecondition, and so does
        an attempt older than the last one. A command that cannot be started (not found, not executable,
        no such user, no such folder) raises FailedPrecondition with the reason, leaves no trace, and may
        be tried again under the same attempt. A workload no machine could run (no command, an id that is
        no name of a folder) raises InvalidArgument; Unavailable means: unknown whether it runs, ask again.
        """
        ...

    def observe(self, instance: str) -> Observed:
        """What is known now, without asking anybody; ABSENT for an instance never seen."""
        ...

    def all(self) -> Sequence[Observed]:
        """Every instance of this runner, whoever started it."""
        ...

    def on_change(self, notify: Callable[[Observed], None]) -> None:
        """Call `notify` on the event loop at each start and end, at once.

        What happened while nobody was listening is told at `start`, or when the engine is back in reach:
        once for each instance that is not as it was last seen. `notify` must not raise.
        """
        ...

    async def stop(self, instance: str, *, grace: float) -> Observed:
        """SIGTERM, then after `grace` seconds SIGKILL to everything in it; returns when it has ended.

        Gone already: fine, returns what is seen. A second stop may shorten the grace, never lengthen it.
        """
        ...

    async def remove(self, instance: str) -> None:
        """Stop it hard if it runs, then forget it and delete its logs. Gone already: fine."""
        ...

    async def close(self) -> None:
        """Let go. Workloads stay as they are."""
        ...


class HasLogs(Protocol):
    """A runner that keeps what its instances wrote, also after they ended."""

    def logs(
        self,
        instance: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """Batches of lines, oldest first: the last `tail` of those within the times (None: all).

        With `follow` it goes on, also across restarts of the instance, until `until`, until the instance
        is removed or the caller closes it. A slow reader never slows the workload. Raises NotFound at
        the first batch when this runner never saw the instance, or has removed it.
        """
        ...


class HasExec(Protocol):
    """A runner that can run a command inside an instance."""

    async def exec(self, instance: str, command: Command) -> Session:
        """Raises FailedPrecondition when the instance does not run or the command cannot be started."""
        ...


class HasUsage(Protocol):
    """A runner that can tell what its instances use."""

    async def usage(self, instance: str) -> Usage:
        """What it has used by now; raises FailedPrecondition when the instance does not run."""
        ...


class FullRunner(Runner, HasLogs, HasExec, Protocol):
    """A runner that can do everything that is asked of instances."""


@runtime_checkable
class HasNetworks(Protocol):
    """A runner that can take the network from what runs, and give it back."""

    async def cut_off(self, instance: str) -> None:
        """Nothing reaches it any more, and it reaches nothing. Does nothing when it does not run."""
        ...

    async def reconnect(self, instance: str) -> None:
        """It has its network again. Does nothing when it does not run, or has it."""
        ...


@runtime_checkable
class HasFiles(Protocol):
    """A runner that can change the mounted files of what runs."""

    async def refresh(self, workload: Workload) -> None:
        """Replace the files of this attempt, each folder in one step; files that are as they should be stay.

        Does nothing when this attempt does not run. Raises FailedPrecondition when they cannot be written.
        """
        ...
