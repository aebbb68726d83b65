"""A Docker Engine for tests: its own socket, folders and addresses, and no rule in the machine's firewall.

It keeps containers running while it is away itself (live restore), as a production Engine should.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import machine

IMAGE = "rune-test:1"
"""BusyBox and nothing else; a user `app`, PATH=/bin, and an entrypoint that says what it was given."""

START = 30.0

APPLETS = (
    "sh",
    "sleep",
    "echo",
    "cat",
    "ls",
    "id",
    "stty",
    "httpd",
    "touch",
    "true",
    "false",
    "kill",
    "env",
    "pwd",
    "head",
    "yes",
    "wget",
    "dd",
    "hostname",
    "mkdir",
    "nslookup",
)

FILES = {"passwd": "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", "group": "team:x:2000:\n"}


class Engine:
    """One dockerd with its containerd; `lose` and `start` let it go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "d.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers; raises RuntimeError with the end of its log otherwise."""
        notify = self.folder / "ready"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
            (self.folder / "log").open("ab") as log,
        ):
            ready.settimeout(START)
            ready.bind(str(notify))
            scratch = self.folder / "tmp"
            scratch.mkdir(exist_ok=True)
            env = os.environ | {"NOTIFY_SOCKET": str(notify), "TMPDIR": str(scratch)}
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, env=env, start_new_session=True
            )
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            except TimeoutError as error:
                self.lose(signal.SIGKILL)
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"dockerd does not start here: {tail}") from error
            finally:
                notify.unlink()

    def lose(self, how: signal.Signals = signal.SIGTERM) -> None:
        """It goes away, and its containerd with it; containers go on."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(START)
            self._process = None
        # Where nobody reaps orphans, the next one would take a dead containerd for one that runs.
        (self.folder / "run" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """It hangs: connections are taken and nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def docker(self, *arguments: str, given: bytes | None = None) -> str:
        """What the command line says; for what the runner under test must not do itself."""
        done = subprocess.run(
            ["docker", "-H", self.url, *arguments],
            input=given,
            capture_output=True,
            timeout=START,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    def end(self) -> None:
        """Remove every container, stop, and leave nothing mounted; raises RuntimeError if it died before."""
        death = self._death()
        if self._process is None:
            self.start()
        if containers := self.docker("ps", "-aq").split():
            self.docker("rm", "-f", *containers)
        if networks := self.docker("network", "ls", "-q", "--filter", "type=custom").split():
            self.docker("network", "rm", *networks)
        self.clean()
        if death:
            raise RuntimeError(death)

    def _death(self) -> str:
        """How it ended although nobody here ended it; empty when it did not."""
        code = self._process.poll() if self._process else None
        if code is None:
            return ""
        self.lose()
        tail = (self.folder / "log").read_text(errors="replace")[-2000:]
        return f"dockerd ended by itself with code {code}: {tail}"

    def clean(self) -> None:
        """Kill what is left of it, unmount, and remove its folder."""
        self.lose(signal.SIGKILL)
        for line in reversed(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()):
            if str(self.folder) in line:
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(self.folder)

    def hold_gateway(self) -> None:
        """Make the address by which containers reach the machine, which a default bridge would have."""
        subnet = f"{self._network}.255.0/24"
        self.docker("network", "create", f"--subnet={subnet}", f"--gateway={self._gateway}", "gateway")

    @property
    def _network(self) -> str:
        """The first half of the addresses of its networks."""
        return f"10.{100 + os.getpid() % 120}"

    @property
    def _gateway(self) -> str:
        return f"{self._network}.255.1"

    def _command(self) -> list[str]:
        return [
            "dockerd",
            f"--host={self.url}",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/run",
            f"--pidfile={self.folder}/pid",
            "--live-restore",
            "--bridge=none",
            "--iptables=false",
            "--ip-masq=false",
            "--ip-forward=false",
            f"--default-address-pool=base={self._network}.0.0/16,size=24",
            f"--host-gateway-ip={self._gateway}",  # see `hold_gateway`
            "--shutdown-timeout=2",
            "--log-level=error",
        ]


def root_filesystem(note: str = "") -> bytes:
    """A tar of the image's files; with a note in it, it is no layer that the Engine has already."""
    busybox = shutil.which("busybox")
    assert busybox
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("tmp", "etc", "proc", "dev", "sys"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(made)
        for name, text in FILES.items() | {("note", note)}:
            made = tarfile.TarInfo(f"etc/{name}")
            made.size, made.mode = len(text), 0o644
            tar.addfile(made, io.BytesIO(text.encode()))
    return out.getvalue()


def begin() -> Engine:
    """A running Engine with the image."""
    engine = Engine(Path(tempfile.mkdtemp(prefix="docker-")))
    try:
        engine.start()
        changes = ["ENV PATH=/bin", 'ENTRYPOINT ["/bin/echo","entry"]', 'CMD ["default"]']
        given = [part for change in changes for part in ("--change", change)]
        engine.docker("import", *given, "-", IMAGE, given=root_filesystem())
    except BaseException:
        engine.clean()
        raise
    return engine


@contextmanager
def if_possible() -> Generator[Engine | None]:
    """An Engine for a script, where one can run; says why where none can."""
    if reason := machine.missing("docker"):
        print(f"without containers: {reason}")  # noqa: T201 - a script's figures need it beside them
        yield None
        return
    engine = begin()
    try:
        yield engine
    finally:
        engine.end()
