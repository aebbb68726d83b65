"""Pins: the definition of every tool as it was first seen, in a file for each server, for its owner alone.

A tool whose definition changes, or that was suspicious from the start, waits there until somebody accepts it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rune.errors import FailedPrecondition, InvalidArgument, NotFound
from rune.toolbox.definitions import Json, fingerprint, name_of
from rune.toolbox.judge import Suspicion

MOST_TOOLS = 5_000
MOST_KEPT_BYTES = 32 << 10
"""Of a definition: what is kept so that a change can be shown. Its hash is over all of it."""
MOST_FILE_BYTES = 64 << 20
MOST_OTHERS = 200
"""Servers whose tools' names are compared."""
TWICE = Suspicion("changed", "listed-twice", "the server lists it twice, in two forms")
"""One form that is trusted must not let the other in."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A definition at one time."""

    hash: str
    at: str
    definition: str = ""
    """As JSON; cut where it is very long."""


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What is trusted of a tool, and what waits for somebody's word."""

    trusted: Seen | None = None
    waiting: Seen | None = None
    why: str = ""
    """Why it waits."""
    kind: str = ""
    accepted: bool = False
    """Somebody said so; a definition that was only seen first was not looked at by anybody."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The pins of one server."""

    name: str
    upstream: str
    """What is started, without arguments, or the URL without its query: for people."""
    tools: dict[str, Pin] = {}


class Verdict(msgspec.Struct, frozen=True):
    """Whether a tool may be shown and called."""

    suspicion: Suspicion | None = None
    is_news: bool = False
    """It was not known before: worth telling."""


class Pins:
    """The pins of one server, in a folder of them; several processes may work on the folder at once."""

    def __init__(self, folder: Path, name: str, upstream: Iterable[str], *, now: Callable[[], str]) -> None:
        words = tuple(upstream)
        self.folder, self.name = folder, name
        self.key = key_of(name, words)
        self._shown = words[0].partition("?")[0] if words else ""
        self._now = now

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / f"{self.key}.json"

    def server(self) -> Server:
        """What is pinned now; nothing for a server that was never seen. Raises FailedPrecondition."""
        return read(self.path) or Server(name=self.name, upstream=self._shown)

    def waiting(self) -> dict[str, str]:
        """The tools that wait for somebody's word, and why."""
        return {name: pin.why for name, pin in self.server().tools.items() if pin.waiting is not None}

    def others(self) -> dict[str, Collection[str]]:
        """The tools of the other servers that were seen on this machine; what cannot be read is left out."""
        found: dict[str, Collection[str]] = {}
        for path in sorted(self.folder.glob("*.json"))[:MOST_OTHERS]:
            if path == self.path:
                continue
            try:
                server = read(path)
            except FailedPrecondition:
                continue
            if server is not None and server.name != self.name:
                found[server.name] = {*found.get(server.name, ()), *server.tools}
        return found

    def look(
        self, definitions: Iterable[Mapping[str, Json]], judged: Mapping[str, Suspicion]
    ) -> dict[str, Verdict]:
        """The verdict on each tool of a list: new ones are pinned, changed and suspicious ones wait."""
        with self._changing() as server:
            tools = dict(server.tools)
            verdicts: dict[str, Verdict] = {}
            forms: dict[str, set[str]] = {}
            for definition in definitions:
                name, seen = name_of(definition), self._seen(definition)
                before = tools.get(name)
                forms.setdefault(name, set()).add(seen.hash)
                if before is None and len(tools) >= MOST_TOOLS:
                    verdicts[name] = Verdict(
                        Suspicion("changed", "too-many", f"the server has more than {MOST_TOOLS} tools"),
                        is_news=True,
                    )
                    continue
                if len(forms[name]) > 1:
                    tools[name], verdicts[name] = _waits(before or Pin(), seen, TWICE)
                else:
                    tools[name], verdicts[name] = _looked(before, seen, judged.get(name))
            if tools != server.tools:
                self._write(msgspec.structs.replace(server, tools=tools))
        return verdicts

    def accept(self, names: Collection[str] = ()) -> list[str]:
        """Trust what waits, all of it where no names are given; raises NotFound for a tool that does not
        wait.
        """
        return accept(self.path, names)

    def _seen(self, definition: Mapping[str, Json]) -> Seen:
        text = json.dumps(definition, ensure_ascii=True, sort_keys=True)[:MOST_KEPT_BYTES]
        return Seen(hash=fingerprint(definition), at=self._now(), definition=text)

    @contextmanager
    def _changing(self) -> Generator[Server]:
        with locked(self.folder, self.key):
            yield self.server()

    def _write(self, server: Server) -> None:
        write(self.path, server)


def _looked(before: Pin | None, seen: Seen, judged: Suspicion | None) -> tuple[Pin, Verdict]:
    """The pin after a look at a definition, and what that means for the tool."""
    pin = before or Pin()
    is_same = pin.trusted is not None and pin.trusted.hash == seen.hash
    if is_same and (pin.accepted or judged is None):
        return msgspec.structs.replace(pin, waiting=None, why="", kind=""), Verdict()
    suspicion = judged
    if suspicion is None and pin.trusted is not None:
        suspicion = Suspicion("changed", "changed", f"its definition is not the one of {pin.trusted.at[:10]}")
    if suspicion is None:
        return Pin(trusted=seen), Verdict()
    return _waits(pin, seen, suspicion)


def _waits(pin: Pin, seen: Seen, suspicion: Suspicion) -> tuple[Pin, Verdict]:
    if pin.waiting is not None and pin.waiting.hash == seen.hash:
        return pin, Verdict(suspicion)
    waits = msgspec.structs.replace(pin, waiting=seen, why=suspicion.why, kind=suspicion.kind)
    return waits, Verdict(suspicion, is_news=True)


def key_of(name: str, upstream: Collection[str]) -> str:
    """The name of the file: two servers that are started in other ways never share one."""
    digest = hashlib.sha256("\0".join(upstream).encode("utf-8", "replace")).hexdigest()
    return f"{_UNSAFE.sub('-', name)[:64].strip('.-') or 'server'}-{digest[:12]}"


def servers(folder: Path) -> list[tuple[str, Server]]:
    """All that is pinned there, by key."""
    found = ((path.stem, read(path)) for path in sorted(folder.glob("*.json")))
    return [(key, server) for key, server in found if server is not None]


def find(folder: Path, word: str) -> Path:
    """The file of a server by its key or its name; raises NotFound and InvalidArgument."""
    matching = [key for key, server in servers(folder) if word in (key, server.name)]
    if not matching:
        known = ", ".join(key for key, _ in servers(folder)) or "there are none"
        raise NotFound(f"no pins of a server {word!r} ({known})")
    if len(matching) > 1:
        raise InvalidArgument(f"{word!r} is the name of several servers: use one of {', '.join(matching)}")
    return folder / f"{matching[0]}.json"


def accept(path: Path, names: Collection[str] = ()) -> list[str]:
    """Trust what waits in a file of pins; the tools that were accepted."""
    with locked(path.parent, path.stem):
        server = read(path)
        if server is None:
            raise NotFound(f"there are no pins in {path}")
        waiting = [name for name, pin in server.tools.items() if pin.waiting is not None]
        for name in names:
            if name not in waiting:
                raise NotFound(
                    f"{name!r} does not wait to be accepted ({', '.join(waiting) or 'nothing does'})"
                )
        chosen = [name for name in waiting if not names or name in names]
        trusted = {name: Pin(trusted=server.tools[name].waiting, accepted=True) for name in chosen}
        write(path, msgspec.structs.replace(server, tools={**server.tools, **trusted}))
    return chosen


def forget(path: Path) -> None:
    """Remove a server's pins: its tools are pinned anew when they are seen next."""
    with locked(path.parent, path.stem):
        path.unlink(missing_ok=True)


def read(path: Path) -> Server | None:
    """The pins in a file, None where there is none; raises FailedPrecondition for one that is not ours."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_FILE_BYTES)
        return msgspec.json.decode(text, type=Server)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeError) as error:
        # To pin anew would be to trust whatever is there now: whoever can spoil the file could do that.
        raise FailedPrecondition(
            f"the pins in {path} cannot be read ({error}); look at it, or remove it to trust the server anew"
        ) from error


def write(path: Path, server: Server) -> None:
    """The file anew, in one step, for its owner alone."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(server), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path, key: str) -> Generator[None]:
    """Alone among the processes that change this server's pins."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / f".{key}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def folder_of(environ: Mapping[str, str]) -> Path:
    """Where pins are kept: `RUNE_MCP_PINS`, else `~/.rune/mcp-pins`."""
    named: Any = environ.get("RUNE_MCP_PINS", "")
    return Path(named) if named else Path(environ.get("HOME", "/")) / ".rune" / "mcp-pins"
