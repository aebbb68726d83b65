"""`rune dev`: a whole `runed` on a scratch folder, gone when the command ends."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
import msgspec

from rune.errors import Unavailable

READY_SECONDS = 30.0
END_SECONDS = 30.0
"""How long runed gets to stop its workloads; after that it is killed."""
LAST_LINES = 20
CONTRACT = ("grpc", "http", "token", "data_dir", "pid")
_PR_SET_PDEATHSIG = 1


class NotStarted(Unavailable):
    """Runed did not start."""

    exit_code = 1
    next = "rune dev --verbose shows everything that runed says"


@click.command(epilog="Examples: rune dev; rune dev --grpc-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 --json")
@click.option("--grpc-addr", default="127.0.0.1:7863", show_default=True, help="Port 0 takes a free one.")
@click.option("--http-addr", default="127.0.0.1:7861", show_default=True, help="Port 0 takes a free one.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when it is ready.")
@click.option("--verbose", is_flag=True, help="Show what runed logs.")
def dev(*, grpc_addr: str, http_addr: str, as_json: bool, verbose: bool) -> int:
    """Run a whole runed on a scratch folder until this command ends (Ctrl-C, SIGTERM)."""
    with _scratch() as folder:
        log = folder / "runed.log"
        command = [sys.executable, "-m", "rune.daemon", "--dev", "--data-dir", str(folder / "data")]
        command += ["--grpc-addr", grpc_addr, "--http-addr", http_addr]
        with _daemon(command, None if verbose else log) as (process, lines):
            ready = _ready(process, lines, log)
            click.echo(_as_json(ready) if as_json else _as_text(ready))
            sys.stdout.flush()
            code = _until_told(process)
        if code is not None:
            raise NotStarted(f"runed ended by itself with exit code {code}:\n{_tail(log)}")
    return 0


@contextlib.contextmanager
def _scratch() -> Generator[Path]:
    """A folder of our own that is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="rune-dev-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _daemon(command: list[str], log: Path | None) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Runed as a child that ends with us, however we end, and the pipe on which it says that it is ready."""
    reader, writer = os.pipe()
    out = log.open("wb") if log else None
    try:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=out or sys.stderr.fileno(),
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - there are no threads yet
        )
    finally:
        os.close(writer)
        if out:
            out.close()
    try:
        yield process, reader
    finally:
        os.close(reader)
        _end(process)


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when `rune dev` itself is killed."""
    import ctypes  # noqa: PLC0415 - in the child alone

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], pipe: int, log: Path) -> dict[str, Any]:
    """The line that runed writes when it is ready; raises NotStarted when it ends before or says nothing."""
    line = b""
    while not line.endswith(b"\n"):
        found, _, _ = select.select([pipe], [], [], READY_SECONDS)
        piece = os.read(pipe, 64 * 1024) if found else b""
        if not piece:
            why = f"runed was not ready after {READY_SECONDS:g} s" if not found else "runed ended at once"
            if found:
                process.wait(END_SECONDS)
            raise NotStarted(f"{why}:\n{_tail(log)}")
        line += piece
    ready: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    missing = [name for name in CONTRACT if name not in ready]
    if missing:
        raise NotStarted(f"runed's ready line has no {', '.join(missing)}")
    return {**ready, "api_key": ready.get("api_key", "")}


def _until_told(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for SIGINT, SIGTERM or SIGHUP (None), or for runed to end by itself (its exit code)."""
    wakes, wakens = os.pipe()
    os.set_blocking(wakens, False)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, _noted) for number in numbers}
    old = signal.set_wakeup_fd(wakens)
    try:
        while process.poll() is None:
            told = os.read(wakes, 64)
            if any(number != signal.SIGCHLD for number in told):
                return None
        return process.returncode
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wakes)
        os.close(wakens)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up pipe has it."""


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LAST_LINES:])


def _as_json(ready: dict[str, Any]) -> str:
    names = (*CONTRACT[:3], "api_key", *CONTRACT[3:])
    return msgspec.json.encode({name: ready[name] for name in names}).decode()


def _as_text(ready: dict[str, Any]) -> str:
    return "\n".join(
        (
            "runed is ready; in another terminal:",
            "",
            f"  export RUNE_SERVER={ready['grpc']} RUNE_TOKEN={ready['token']}",
            "  rune cast examples/web.yaml",
            "  rune get services",
            "",
            f"REST: http://{ready['http']}   data: {ready['data_dir']}   Ctrl-C ends everything.",
        )
    )
