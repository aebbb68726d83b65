"""Turns a request into a process: a fork that is born inside its cgroup, prepares itself and execs.

Tried against the two other ways: moving a process into a cgroup waits for RCU (4 to 20 ms for one start;
nothing in a burst), while clone3 with CLONE_INTO_CGROUP costs 1.5 ms always. vfork would need C.
"""

from __future__ import annotations

import binascii
import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import termios

from . import cgroups, privileges, sandbox
from .records import Message, write_pid

CLONE3, INTO_CGROUP = 435, 0x200000000


class Plan:
    """What a new process does before it execs; all descriptors are the keeper's."""

    def __init__(self, argv: list[str], env: dict[str, str], workdir: str) -> None:
        self.argv = argv
        self.env = env
        self.workdir = workdir
        self.uid = -1
        self.gid = -1
        self.groups: list[int] = []
        self.cgroup = ""
        self.joins: list[str] = []
        """Cgroups of version 1 to move to."""
        self.sandbox: Message | None = None
        """The capabilities that are kept and the filter of system calls; None outside of one."""
        self.wrap: list[str] = []
        """The bubblewrap that makes the sandbox."""
        self.holder = 0
        """Instead of `wrap`: what holds the sandbox that is there already."""
        self.folder = ""
        """Of a workload: where its pipes are."""
        self.record = -1
        """Of a workload: the open file in which its pid is put on record; `spawn` closes it."""
        self.stdio: list[int] = []
        """Its three descriptors; of a command perhaps one terminal. A workload's are opened by `spawn`."""


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack",
            "stack_size", "tls", "set_tid", "set_tid_size", "cgroup",
        )
    )  # fmt: skip


_libc = ctypes.PyDLL(None, use_errno=True)


_limits = [resource.getrlimit(resource.RLIMIT_NOFILE)]


def raise_limits() -> None:
    """Allow ourselves as many open files as we may; new processes get what we were given."""
    hard = _limits[0][1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def heed_signals() -> None:
    """Block none and ignore none from now on: what is handled is the default again for what we execute.

    Python ignores SIGPIPE, and whoever started runed may have ignored SIGHUP.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _unheeded)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _unheeded(*_: object) -> None:
    """As good as ignored."""


def subreaper() -> None:
    """From now on orphans of our descendants become our children, so that they are reaped."""
    _libc.prctl(36, 1, 0, 0, 0)


class Report:
    """What a new process tells on its way to its exec; it ends with the exec, or with what prevented it."""

    def __init__(self, plan: Plan, pid: int, fd: int) -> None:
        self._plan = plan
        self._told = b""
        self.fd = fd
        self.pid = 0 if plan.sandbox else pid
        """Of the workload; in a sandbox it is known when it has been told."""
        self.holder = plan.holder

    def read(self) -> str | None:
        """Empty when it has become the workload, otherwise why it did not; None for not yet."""
        chunk = os.read(self.fd, 65536)
        self._told += chunk
        while b"\n" in self._told and self._told.startswith((b"pid\0", b"holder\0")):
            line, _, self._told = self._told.partition(b"\n")
            name, _, number = line.partition(b"\0")
            setattr(self, name.decode(), int(number))
        if chunk:
            return None
        if self._told:
            return _reason(self._plan, self._told)
        return "" if self.pid else "it was killed before it started"


def spawn(plan: Plan) -> Report:
    """Start it; the report's descriptor is the caller's to read and close.

    All that can be done for the new process is done before it is there: each object that it touches is
    copied, a page at a time.
    """
    opened: list[int] = []
    try:
        if plan.folder:
            opened.append(plan.record)
            plan.stdio = _open(plan.folder, opened)
        ours, theirs = os.pipe()
        opened.append(theirs)
        os.set_blocking(ours, False)
        try:
            pid = _fork(plan.cgroup)
        except OSError:
            os.close(ours)
            raise
        if pid == 0:
            _become(plan, theirs)
    finally:
        for fd in opened:
            os.close(fd)
    return Report(plan, pid, ours)


def _open(folder: str, opened: list[int]) -> list[int]:
    """The ends of a workload's pipes: for reading too, so that writing never fails for want of a reader."""
    for path, mode in (
        ("/dev/null", os.O_RDONLY),
        (f"{folder}/out", os.O_RDWR),
        (f"{folder}/err", os.O_RDWR),
    ):
        opened.append(os.open(path, mode))
    return opened[-3:]


def _reason(plan: Plan, told: bytes) -> str:
    """The words for what a new process told before it gave up."""
    stage, number, detail = told.decode(errors="replace").split("\0", 2)
    why = os.strerror(int(number))
    program = plan.argv[0]
    match stage:
        case "find":
            return f"command {program!r} not found in PATH: {plan.env.get('PATH', '')}"
        case "workdir":
            return f"working folder {plan.workdir!r} cannot be entered: {why}"
        case "user":
            return f"cannot become user {plan.uid}, group {plan.gid}: {why}"
        case "exec":
            return _exec_reason(detail, int(number))
        case "sandbox":
            return f"the sandbox cannot be made: {detail if int(number) == errno.EPERM and detail else why}"
        case _:
            return f"{program!r} cannot be started ({stage}): {why}"


def _exec_reason(path: str, number: int) -> str:
    if number == errno.ENOENT:
        return f"file does not exist: {path}"
    if number == errno.EXDEV:
        return f"the interpreter that the first line of {path} names does not exist"
    if number in (errno.EACCES, errno.EPERM):
        return f"file is not executable: {path}"
    if number == errno.ENOEXEC:
        return f"file is not executable: {path} is no program of this machine and has no #! line"
    return f"{path} cannot be executed: {os.strerror(number)}"


def _fork(cgroup: str) -> int:
    if not cgroup:
        return os.fork()
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        args = _CloneArgs(flags=INTO_CGROUP, exit_signal=int(signal.SIGCHLD), cgroup=fd)
        pid = int(_libc.syscall(CLONE3, ctypes.byref(args), ctypes.sizeof(args)))
    finally:
        os.close(fd)
    return pid if pid >= 0 else _fork_and_join(cgroup)


def _fork_and_join(cgroup: str) -> int:
    """Where a filter forbids clone3: the child moves itself, and waits for RCU in its own time."""
    pid = os.fork()
    if pid == 0:
        try:
            fd = os.open(f"{cgroup}/cgroup.procs", os.O_WRONLY)
            os.write(fd, b"0")
            os.close(fd)
        except OSError:
            os._exit(127)
    return pid


def _become(plan: Plan, report: int) -> None:
    """In the child: never returns, whatever happens."""
    stage = ["prepare"]
    try:
        door = _placed(plan, report, stage) if plan.joins or plan.sandbox else None
        _prepare(plan, report, stage)
        _settle(plan, door, stage)
        _exec(plan, stage)
    except OSError as error:
        detail = error.filename if isinstance(error.filename, str) else plan.argv[0]
        detail = str(error.args[1]) if isinstance(error, sandbox.Refused) else detail
        os.write(report, f"{stage[0]}\0{error.errno or 0}\0{detail}".encode())
    finally:
        os._exit(127)


def _placed(plan: Plan, report: int, stage: list[str]) -> sandbox.Door | None:
    """Join the cgroups and make or find the sandbox, at the same time since both wait for the kernel.

    With a sandbox only a child of this process returns, born in it.
    """
    stage[0] = "sandbox"
    making = sandbox.Making(plan.wrap) if plan.wrap else None
    try:
        stage[0] = "limits"
        cgroups.join(plan.joins)
    finally:
        if making:  # in any case, so that the keeper knows what to kill
            before, stage[0] = stage[0], "sandbox"
            plan.holder = making.finish()
            os.write(report, b"holder\0%d\n" % plan.holder)
            stage[0] = before
    if not plan.sandbox:
        return None
    stage[0] = "sandbox"
    door = sandbox.Door(plan.holder)
    door.children()
    stage[0] = "prepare"
    _step_inside(plan, report)
    return door


def _step_inside(plan: Plan, report: int) -> None:
    """Fork once more; the parent stays outside just long enough to say, and record, who went in.

    What runs in there already sees the child from now on: it must not find the keeper's memory in it.
    """
    privileges.unreadable()
    go, going = os.pipe()
    pid = os.fork()
    if pid:
        if plan.folder:
            write_pid(plan.record, pid, plan.holder)
        os.write(report, b"pid\0%d\n" % pid)
        os.write(going, b"g")
        os._exit(0)
    os.close(going)
    if not os.read(go, 1):
        os._exit(127)
    os.close(go)


def _prepare(plan: Plan, report: int, stage: list[str]) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_NOFILE, _limits[0])
    if plan.folder:
        stage[0] = "record"
        if not plan.sandbox:
            write_pid(plan.record, os.getpid())
        _live_with_the_keeper(report)
        for target, fd in enumerate(plan.stdio):
            os.dup2(fd, target)
    else:
        _stdio(plan.stdio)
    os.umask(0o022)


def _settle(plan: Plan, door: sandbox.Door | None, stage: list[str]) -> None:
    """Be where, and who, the workload is to be, with no more rights than it is to have."""
    if door:
        stage[0] = "sandbox"
        door.enter()
    stage[0] = "workdir"
    os.chdir(plan.workdir)
    stage[0] = "user"
    if plan.sandbox:
        privileges.bound(plan.sandbox["capabilities"])
    if plan.uid >= 0:
        os.setgroups(plan.groups)
        os.setgid(plan.gid)
        os.setuid(plan.uid)
    if plan.sandbox:
        privileges.keep(plan.sandbox["capabilities"])
    privileges.no_new()
    stage[0] = "workdir"
    if not os.access(".", os.X_OK):
        raise OSError(errno.EACCES, "", plan.workdir)
    if plan.sandbox:
        stage[0] = "filter"
        privileges.confine(binascii.a2b_base64(plan.sandbox["filter"]))


def _live_with_the_keeper(report: int) -> None:
    """Give up if the keeper is gone: the next one may have looked for our pid before we wrote it."""
    poll = select.poll()
    poll.register(report, 0)
    if poll.poll(0):
        os._exit(127)


def _stdio(given: list[int]) -> None:
    if len(given) == 1:
        fcntl.ioctl(given[0], termios.TIOCSCTTY, 0)
        given = given * 3
    for fd in given:
        os.set_inheritable(fd, False)
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in given]
    for target, fd in enumerate(kept):
        os.dup2(fd, target)


def _exec(plan: Plan, stage: list[str]) -> None:
    program = plan.argv[0]
    if "/" in program:
        stage[0] = "exec"
        _try(program, plan)
    stage[0] = "find"
    refused: OSError = FileNotFoundError(errno.ENOENT, "", program)
    for folder in plan.env.get("PATH", "").split(":"):
        try:
            _try(f"{folder or '.'}/{program}", plan)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            stage[0], refused = "exec", error
    raise refused


def _try(path: str, plan: Plan) -> None:
    try:
        os.execve(path, plan.argv, plan.env)  # noqa: S606 - this is what a runner does
    except FileNotFoundError as error:
        raise OSError(errno.EXDEV if os.path.exists(path) else errno.ENOENT, "", path) from error
    except OSError as error:
        raise OSError(error.errno, "", path) from error
