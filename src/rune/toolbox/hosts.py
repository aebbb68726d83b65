"""MCP hosts: the programs that start servers for an assistant, and the files in which they keep them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

from rune.errors import InvalidArgument
from rune.toolbox.jsonc import MOST_CHARACTERS, Node, parse

MOST_PROJECTS = 500
URL_KEYS = ("url", "serverUrl", "httpUrl")


class Place(NamedTuple):
    """A file that a host may have."""

    host: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One server of a file."""

    host: str
    path: Path
    name: str
    scope: str = ""
    """The project that it is for, in files that hold several."""
    node: Node = field(repr=False)

    @property
    def data(self) -> dict[str, Any]:
        """What stands there."""
        return self.node.value if self.node.is_object else {}

    @property
    def command(self) -> list[str]:
        """The command and its arguments; empty for a server at a URL."""
        command, given = self.data.get("command"), self.data.get("args")
        if not isinstance(command, str) or not command:
            return []
        return [command, *map(str, cast("list[Any]", given) if isinstance(given, list) else [])]

    @property
    def url(self) -> str:
        """Where the server is, if nobody starts it."""
        found = self.data.get(self.url_key)
        return found if isinstance(found, str) else ""

    @property
    def url_key(self) -> str:
        """The word that the host has for it; empty where there is none."""
        return next((key for key in URL_KEYS if self.data.get(key)), "")

    @property
    def env(self) -> dict[str, str]:
        """What is put into the server's environment."""
        return _texts(self.data.get("env"))

    @property
    def headers(self) -> dict[str, str]:
        """What is sent along to a server at a URL."""
        return _texts(self.data.get("headers"))


def _texts(given: Any) -> dict[str, str]:  # noqa: ANN401 - JSON
    found = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    return {str(name): str(value) for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class Config:
    """A file of a host, read."""

    host: str
    path: Path
    text: str = field(repr=False)
    entries: tuple[Entry, ...] = ()


def parts_of(url: str) -> SplitResult:
    """The parts of a URL; all are empty for one that is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def places(environ: Mapping[str, str], folder: Path, *, platform: str = sys.platform) -> list[Place]:
    """Where each host keeps its servers, for a user and for the project in the folder."""
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or "/")
    settings = _settings(environ, home, platform)
    return [
        Place("Claude Desktop", settings / "Claude" / "claude_desktop_config.json"),
        Place("Claude Code", home / ".claude.json"),
        Place("Claude Code", folder / ".mcp.json"),
        Place("Cursor", home / ".cursor" / "mcp.json"),
        Place("Cursor", folder / ".cursor" / "mcp.json"),
        Place("Windsurf", home / ".codeium" / "windsurf" / "mcp_config.json"),
        Place("VS Code", settings / "Code" / "User" / "mcp.json"),
        Place("VS Code", folder / ".vscode" / "mcp.json"),
    ]


def _settings(environ: Mapping[str, str], home: Path, platform: str) -> Path:
    if platform == "darwin":
        return home / "Library" / "Application Support"
    if platform == "win32":
        return Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")


def found(environ: Mapping[str, str], folder: Path) -> list[Place]:
    """Those files that are there."""
    there = [place for place in places(environ, folder) if place.path.is_file()]
    return list({place.path.resolve(): place for place in reversed(there)}.values())[::-1]


def named(path: Path, environ: Mapping[str, str], folder: Path) -> Place:
    """A file that somebody names; its host by its place, where that is known."""
    known = {place.path.absolute(): place.host for place in places(environ, folder)}
    return Place(known.get(path.absolute(), _guessed(path)), path)


def _guessed(path: Path) -> str:
    return "VS Code" if path.parent.name == ".vscode" else "unknown"


def load(place: Place) -> Config:
    """The servers of a file; raises InvalidArgument where it is not what hosts read."""
    try:
        with place.path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeError) as error:
        raise InvalidArgument(f"{place.path} cannot be read: {error}") from error
    if not text.strip():
        return Config(place.host, place.path, text)
    root = parse(text, str(place.path))
    entries = [
        Entry(host=place.host, path=place.path, name=name, scope=scope, node=node)
        for scope, section in _sections(root)
        for name, node in section.members.items()
    ]
    return Config(place.host, place.path, text, tuple(entries))


def _sections(root: Node) -> Iterator[tuple[str, Node]]:
    """The objects that hold servers: `mcpServers`, VS Code's `servers`, and those of Claude Code's
    projects.
    """
    for key in ("mcpServers", "servers"):
        if key in root.members:
            yield "", root.members[key]
    projects = root.members.get("projects")
    for name, project in list(projects.members.items())[:MOST_PROJECTS] if projects else []:
        if "mcpServers" in project.members:
            yield name, project.members["mcpServers"]
