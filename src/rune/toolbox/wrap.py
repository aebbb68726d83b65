"""Puts the guard in front of the servers of a host's file, and takes it away; all else in the file stays.

The wrapped command keeps its arguments where they stand: in front of them come the guard's own, so that
taking those away gives back what was there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from rune.errors import FailedPrecondition, NotFound
from rune.toolbox import remotes
from rune.toolbox.edits import Edit, applied
from rune.toolbox.hosts import Config, Entry
from rune.toolbox.jsonc import parse

GUARD = "rune-mcp"
UPSTREAM = "--upstream"
BACKUP = ".before-rune"
BETWEEN = ', "args":'
"""What comes between a command and the arguments of one that had none; nobody else writes it so."""


class Done(NamedTuple):
    """What was done to a file, by server; and why not, for those that were left alone."""

    changed: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    text: str = ""


def is_wrapped(entry: Entry) -> bool:
    """The guard stands before it."""
    command = entry.command
    return (
        bool(command) and _is_guard(command[0]) and (UPSTREAM in command[1:] or remotes.is_wrapped(command))
    )


def _is_guard(command: str) -> bool:
    return command.replace("\\", "/").rpartition("/")[2].removesuffix(".exe") == GUARD


def upstream_of(entry: Entry) -> list[str]:
    """The command behind the guard, or the command itself; empty for a server at a URL."""
    command = entry.command
    if not is_wrapped(entry):
        return command
    return command[command.index(UPSTREAM) + 1 :] if UPSTREAM in command else []


def url_of(entry: Entry) -> str:
    """Where the server is, behind the guard or not; empty for a command."""
    return remotes.url_of(entry.command) if is_wrapped(entry) else entry.url


def wrapped(config: Config, *, guard: str, options: Sequence[str] = (), only: Collection[str] = ()) -> Done:
    """The file's text with the guard before each server that needs no log-in of its host.

    Whether a server at a URL does is not known: one without headers is guarded if it is named in `only`.
    """
    changed: list[str] = []
    left: list[tuple[str, str]] = []
    edits: list[Edit] = []
    for entry in _chosen(config, only):
        why = _why_not(entry, is_named=bool(only))
        if why:
            left.append((entry.name, why))
            continue
        edits += _wrapping(entry, guard, options, text=config.text)
        changed.append(entry.name)
    return Done(tuple(changed), tuple(left), _checked(config, edits))


def unwrapped(config: Config, *, only: Collection[str] = ()) -> Done:
    """The file's text without the guard."""
    edits: list[Edit] = []
    changed: list[str] = []
    left: list[tuple[str, str]] = []
    for entry in _chosen(config, only):
        if is_wrapped(entry):
            edits += _unwrapping(entry, config.text)
            changed.append(entry.name)
        else:
            left.append((entry.name, "no guard stands before it"))
    return Done(tuple(changed), tuple(left), _checked(config, edits))


def _chosen(config: Config, only: Collection[str]) -> list[Entry]:
    names = {entry.name for entry in config.entries}
    for name in only:
        if name not in names:
            raise NotFound(
                f"{config.path} has no server {name!r} ({', '.join(sorted(names)) or 'it has none'})"
            )
    return [entry for entry in config.entries if not only or entry.name in only]


def _why_not(entry: Entry, *, is_named: bool) -> str:
    if is_wrapped(entry):
        return "the guard stands before it already"
    if entry.command and _is_guard(entry.command[0]):
        return "it is Rune's own server"
    if entry.url:
        return remotes.why_not(entry, is_named=is_named)
    arguments = entry.node.members.get("args")
    if not entry.command or (arguments is not None and not isinstance(arguments.value, list)):
        return "it has no command"
    return ""


def _wrapping(entry: Entry, guard: str, options: Sequence[str], *, text: str) -> list[Edit]:
    if not entry.command:
        return remotes.wrapping(entry, guard, ["--server-name", entry.name, *options], text=text)
    command = entry.node.members["command"]
    before = ["--server-name", entry.name, *options, UPSTREAM, entry.command[0]]
    words = ", ".join(json.dumps(word, ensure_ascii=False) for word in before)
    edits = [Edit(command.start, command.end, json.dumps(guard, ensure_ascii=False))]
    arguments = entry.node.members.get("args")
    if arguments is None:
        return [*edits, Edit(command.end, command.end, f"{BETWEEN}[{words}]")]
    if arguments.items:
        first = arguments.items[0].start
        return [*edits, Edit(first, first, f"{words}, ")]
    return [*edits, Edit(arguments.start + 1, arguments.start + 1, words)]


def _unwrapping(entry: Entry, text: str) -> list[Edit]:
    if remotes.is_wrapped(entry.command):
        return remotes.unwrapping(entry, text=text)
    command, arguments = entry.node.members["command"], entry.node.members["args"]
    at = [item.value for item in arguments.items].index(UPSTREAM)
    original = arguments.items[at + 1]
    edits = [Edit(command.start, command.end, json.dumps(original.value, ensure_ascii=False))]
    after = arguments.items[at + 2 :]
    if after:
        return [*edits, Edit(arguments.items[0].start, after[0].start, "")]
    if text[command.end : arguments.start] == BETWEEN:
        return [*edits, Edit(command.end, arguments.end, "")]
    return [*edits, Edit(arguments.start + 1, arguments.end - 1, "")]


def _checked(config: Config, edits: list[Edit]) -> str:
    """The new text; it is read again, so that nothing broken is ever written."""
    text = applied(config.text, edits)
    if edits:
        parse(text, str(config.path))
    return text


def store(config: Config, text: str) -> Path:
    """Writes the file in one step, with the mode that it had; the first time it keeps what was there
    beside it.

    Raises FailedPrecondition when somebody changed the file meanwhile.
    """
    path = config.path.resolve()
    with path.open(encoding="utf-8", newline="") as file:
        is_same = file.read() == config.text
    if not is_same:
        raise FailedPrecondition(f"{path} was changed meanwhile: run the command again")
    mode = path.stat().st_mode & 0o7777
    backup = path.with_name(path.name + BACKUP)
    if not backup.exists():
        _write(backup, config.text, mode)
    _write(path, text, mode)
    return backup


def _write(path: Path, text: str, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(mode)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
