"""The keeper's main program: alone on its data folder, detached, and behind a socket of its own user."""

from __future__ import annotations

import fcntl
import gc
import os
import select
import socket
import sys

from . import cgroups, commands, groups, spawn
from .connection import Connection, peer
from .instances import Instances
from .loop import Loop
from .records import Message

PROTOCOL = 2
"""Raised when a message changes its meaning. New verbs and new fields do not raise it: both sides ignore
fields they do not know, and answer `error` to verbs they do not know."""

LARGEST_LOG = 1 << 20


class Service:
    """Answers runed; only one runed at a time is its owner."""

    def __init__(self, data: str, lock: int, tree: cgroups.Tree) -> None:
        self._data = data
        self._lock = lock
        self._owner: Connection | None = None
        self._loop = Loop(self._reap)
        self._tree = tree
        self._instances = Instances(data, self._loop, tree)
        self._instances.push = self._push
        self._socket = self._listen()

    def run(self) -> None:
        """Adopt what there is, then serve for ever."""
        self._instances.adopt()
        self._instances.reap()
        self._loop.add(self._socket.fileno(), select.EPOLLIN, self._accept)
        gc.collect()
        gc.freeze()
        print("ready", flush=True)  # noqa: T201 - what runed waits for
        with open("/dev/null", "r+b", buffering=0) as null:
            os.dup2(null.fileno(), 1)
        self._loop.run()

    def _reap(self) -> None:
        self._instances.reap()

    def _listen(self) -> socket.socket:
        """The name is relative to our folder, since an address holds 107 bytes at most."""
        try:
            os.unlink("sock")
        except FileNotFoundError:
            pass
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind("sock")
        os.chmod("sock", 0o600)
        sock.listen(64)
        sock.setblocking(False)
        return sock

    def _accept(self, _: int) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        if peer(sock)[1] not in (os.geteuid(), 0):
            sock.close()
            return
        connection = Connection(self._loop, sock)
        connection.on_message = lambda message: self._first(connection, message)

    def _first(self, connection: Connection, message: Message) -> None:
        """The first message says what a connection is for."""
        if message.get("op") == "exec":
            commands.Inside(self._instances, self._loop, connection).start(message)
        elif message.get("op") != "hello":
            connection.close()
        elif self._owner:
            connection.send({"id": message.get("id"), "owned": self._owner.pid})
        else:
            self._hello(connection, message)

    def _hello(self, connection: Connection, message: Message) -> None:
        self._owner = connection
        connection.on_message = self._owned
        connection.on_close = self._orphaned
        self._instances.limits.size = int(message["log_size"])
        self._instances.limits.files = int(message["log_files"])
        seen = [instance.record.seen() for instance in self._instances.known.values()]
        own = {"cgroup": self._tree.unified, "controllers": self._tree.controllers}
        hello = {"protocol": PROTOCOL, "pid": os.getpid(), **own, "instances": seen}
        connection.send({"id": message["id"], **hello})

    def _orphaned(self) -> None:
        self._owner = None

    def _owned(self, message: Message) -> None:
        owner = self._owner
        if not owner:
            return

        def answer(content: Message) -> None:
            owner.send({"id": message["id"], **content})

        match message.get("op"):
            case "ensure":
                self._instances.ensure(message, answer)
            case "stop":
                self._instances.stop(message["instance"], float(message["grace"]), answer)
            case "remove":
                self._instances.remove(message["instance"], answer)
            case "usage":
                answer(self._instances.usage(message["instance"]))
            case "upgrade":
                answer({})
                self._upgrade(message["argv"])
            case "exit":
                self._exit()
            case other:
                answer({"error": f"the keeper does not know {other!r}"})

    def _push(self, message: Message) -> None:
        if self._owner:
            self._owner.send(message)

    def _upgrade(self, argv: list[str]) -> None:
        """Become another version of ourselves: same pid, same children, so no exit code is lost."""
        if self._instances.starting():
            self._loop.later(0.01, lambda: self._upgrade(argv))
            return
        os.set_inheritable(self._lock, True)
        os.execv(argv[0], argv)  # noqa: S606 - our own file

    def _exit(self, patience: int = 100) -> None:
        """Leave, once what was killed is reaped; what still runs goes on, and the next keeper adopts it."""
        if self._instances.dying and patience:
            self._loop.later(0.01, lambda: self._exit(patience - 1))
            return
        for base in self._tree.bases():
            groups.drop(base)
        os.unlink("sock")
        os._exit(0)


def main(argv: list[str]) -> None:
    """`__main__.py DATA [--no-cgroups] [--resumed]`: prints `ready`, or what is wrong, on stdout."""
    data = os.path.abspath(argv[0])
    folder = f"{data}/keeper"
    os.umask(0o077)
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o700)
    os.chdir(folder)
    if "--resumed" not in argv:
        _detach()
    lock = _alone()
    _log_to("keeper.log")
    spawn.raise_limits()
    spawn.heed_signals()
    spawn.subreaper()
    tree = cgroups.Tree("", {}) if "--no-cgroups" in argv else cgroups.tree(data)
    Service(data, lock, tree).run()


def _detach() -> None:
    """Fork twice: no terminal, no parent, no session of anybody else."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def _alone() -> int:
    """A lock that children do not inherit: forked workloads must not keep the next keeper out."""
    lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("busy", flush=True)  # noqa: T201 - what runed waits for
        sys.exit(0)
    return lock


def _log_to(path: str) -> None:
    """What goes wrong here is found in this file; nobody else listens."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if os.path.exists(path) and os.path.getsize(path) > LARGEST_LOG:
        flags |= os.O_TRUNC
    fd = os.open(path, flags, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
