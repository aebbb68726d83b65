"""Contexts: the servers that somebody works with, in `~/.rune/config.yaml`, readable by its owner alone."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Any, cast

import msgspec

from rune.errors import InvalidArgument, NotFound

_LINE = re.compile(r"( {0}| {2}| {4})([A-Za-z0-9][A-Za-z0-9_.-]*):(?: ([A-Za-z0-9_/][A-Za-z0-9_./:@-]*))?")
"""The lines that we write ourselves; a file of nothing else is read without a YAML parser (40 ms)."""
OWNERS_ONLY = 0o077


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One server, and who we are there."""

    server: str = ""
    token: str = ""
    refresh: str = ""
    """What the token is traded with for the next one, where it is one of a session."""
    expires: str = ""
    """When that token ends, in Unix seconds."""
    namespace: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: str = ""
    """`true` where the token may travel unencrypted."""

    def __repr__(self) -> str:
        """Without the token."""
        return f"Context(server={self.server!r})"


NAMES = {
    "server": "server",
    "token": "token",
    "refreshToken": "refresh",
    "expiresAt": "expires",
    "defaultNamespace": "namespace",
    "caFile": "ca_file",
    "certFile": "cert_file",
    "keyFile": "key_file",
    "insecure": "insecure",
}


class Contexts(msgspec.Struct, frozen=True, kw_only=True):
    """All contexts, by name, and the current one's name."""

    current: str = ""
    by_name: dict[str, Context] = {}

    def chosen(self, name: str = "") -> Context:
        """The context of that name, or the current one; an empty one when nothing is set up."""
        wanted = name or self.current
        if not wanted:
            return Context()
        if wanted not in self.by_name:
            known = ", ".join(self.by_name) or "there are none"
            raise NotFound(f"there is no context {wanted!r} ({known}); see `rune config list-contexts`")
        return self.by_name[wanted]

    def having(self, name: str, context: Context) -> Contexts:
        """The same, with this one too."""
        return msgspec.structs.replace(self, by_name={**self.by_name, name: context})

    def without(self, name: str) -> Contexts:
        """The same, without this one."""
        self.chosen(name)
        rest = {key: value for key, value in self.by_name.items() if key != name}
        return Contexts(current="" if self.current == name else self.current, by_name=rest)


def load(path: str, *, warn: Callable[[str], None] | None = None) -> Contexts:
    """The file's contexts; raises InvalidArgument where it is not what it should be.

    `warn` is told where others may read the tokens in it.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes 3 ms to import
            mode, text = os.fstat(file.fileno()).st_mode, file.read(1 << 20)
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    data = quick(text)
    found = _contexts(data if data is not None else slow(text, path), path)
    if stat.S_IMODE(mode) & OWNERS_ONLY and any(context.token for context in found.by_name.values()):
        (warn or _silent)(f"others may read the tokens in {path}: chmod 600 {path}")
    return found


def _silent(_: str) -> None:
    """Whoever gave no `warn` does not want to know."""


def quick(text: str) -> dict[str, Any] | None:
    """What the text says, if every line is one that we write ourselves; else None."""
    found: dict[str, Any] = {}
    levels: list[dict[str, Any]] = [found]
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if not match or len(match[1]) // 2 >= len(levels) or match[2] in levels[len(match[1]) // 2]:
            return None
        del levels[len(match[1]) // 2 + 1 :]
        if match[3] is None:
            levels[-1][match[2]] = inner = dict[str, Any]()
            levels.append(inner)
        else:
            levels[-1][match[2]] = match[3]
    return found


def slow(text: str, path: str) -> dict[str, Any]:
    """The same for any YAML, by the manifest's reader, which names the place of what is wrong."""
    from rune.positions.tree import read  # noqa: PLC0415 - only for files that somebody wrote by hand

    documents = read(text, name=path).documents
    if documents and documents[0].kind != "mapping":
        raise InvalidArgument(f"{path} must be a mapping with `current-context` and `contexts`")
    return documents[0].plain() if documents else {}


def _contexts(data: dict[str, Any], path: str) -> Contexts:
    unknown = set(data) - {"current-context", "contexts"}
    if unknown:
        raise InvalidArgument(f"{path}: unknown key {min(unknown)!r}")
    entries: Any = data.get("contexts") or {}
    if not isinstance(entries, dict):
        raise InvalidArgument(f"{path}: contexts must be a mapping of names")
    named = cast("dict[str, Any]", entries)
    by_name = {name: _context(name, entry or {}, path) for name, entry in named.items()}
    return Contexts(current=str(data.get("current-context") or ""), by_name=by_name)


def _context(name: str, entry: Any, path: str) -> Context:  # noqa: ANN401 - decoded YAML
    if not isinstance(entry, dict) or not set(cast("dict[str, Any]", entry)) <= set(NAMES):
        raise InvalidArgument(f"{path}: contexts.{name} must be a mapping with {', '.join(NAMES)}")
    values = cast("dict[str, Any]", entry)
    return Context(**{NAMES[key]: str(value or "") for key, value in values.items()})


def save(path: str, contexts: Contexts) -> None:
    """Write the file anew, in one step, for its owner alone."""
    from pathlib import Path  # noqa: PLC0415 - writing is rare

    place = Path(path)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text_of(contexts))
        beside.replace(place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def text_of(contexts: Contexts) -> str:
    """The file's text."""
    lines = [f"current-context: {_scalar(contexts.current)}"] if contexts.current else []
    lines.append("contexts:")
    for name, context in contexts.by_name.items():
        lines.append(f"  {_scalar(name)}:")
        for key, attribute in NAMES.items():
            value = getattr(context, attribute)
            lines += [f"    {key}: {_scalar(value)}"] if value else []
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_/][A-Za-z0-9_./:@-]*", text) and not text.endswith(":"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in escaped) + '"'
