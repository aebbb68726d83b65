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
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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
    with _told() as told, _scratch() as folder:
        log = folder / "runed.log"
        command = [sys.executable, "-m", "rune.daemon", "--dev", "--data-dir", str(folder / "data")]
        command += ["--grpc-addr", grpc_addr, "--http-addr", http_addr]
        with _daemon(command, None if verbose else log) as (process, lines):
            ready = _ready(process, lines, told, log=log)
            if ready is None:
                return 0
            click.echo(_as_json(ready) if as_json else _as_text(ready))
            sys.stdout.flush()
            code = _until_told(process, told)
        if code is not None:
            raise NotStarted(f"runed ended by itself with exit code {code}:\n{_tail(log)}")
    return 0


@contextlib.contextmanager
def _told() -> Generator[int]:
    """A pipe that gets a byte for each signal: from here to the end of the block none ends us unasked."""
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    numbers = (*ENDS, signal.SIGCHLD)
    before = {number: signal.signal(number, _noted) for number in numbers}
    old = signal.set_wakeup_fd(tells)
    try:
        yield told
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(tells)


def _noted(_number: int, _frame: object) -> None:
    """The pipe has it."""


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


def _ready(process: subprocess.Popen[bytes], pipe: int, told: int, *, log: Path) -> dict[str, Any] | None:
    """What runed says when it is ready; None when we are told to end before.

    Raises NotStarted when runed ends before that, or says nothing.
    """
    line = b""
    while not line.endswith(b"\n"):
        found, _, _ = select.select([pipe, told], [], [], READY_SECONDS)
        if not found:
            raise NotStarted(f"runed was not ready after {READY_SECONDS:g} s:\n{_tail(log)}")
        if told in found and _is_end(told):
            return None
        if pipe in found:
            piece = os.read(pipe, 64 * 1024)
            if not piece:
                process.wait(END_SECONDS)
                raise NotStarted(f"runed ended at once:\n{_tail(log)}")
            line += piece
    ready: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    missing = [name for name in CONTRACT if name not in ready]
    if missing:
        raise NotStarted(f"runed's ready line has no {', '.join(missing)}")
    return {**ready, "api_key": ready.get("api_key", "")}


def _until_told(process: subprocess.Popen[bytes], told: int) -> int | None:
    """Wait until we are told to end (None), or runed ends by itself (its exit code)."""
    while process.poll() is None:
        if _is_end(told):
            return None
    return process.returncode


def _is_end(told: int) -> bool:
    """Wait for signals; says whether one of them ends us, the other being that a child has ended."""
    return any(number in ENDS for number in os.read(told, 64))


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
            f"  export RUNE_ENDPOINT=http://{ready['http']} RUNE_API_KEY={ready['api_key']}",
            "  rune cast examples/web.yaml",
            "  rune get services",
            "",
            f"REST: http://{ready['http']}   data: {ready['data_dir']}   Ctrl-C ends everything.",
        )
    )
