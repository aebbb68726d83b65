"""What is risky about a server of a host's file before anything is started, and about its tools if it was."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from rune.toolbox import remotes
from rune.toolbox.definitions import Json, name_of
from rune.toolbox.hosts import Entry, parts_of
from rune.toolbox.judge import judge
from rune.toolbox.wrap import is_wrapped, upstream_of, url_of

Level = Literal["high", "medium", "low"]
FETCHERS = frozenset({"npx", "bunx", "uvx", "pnpx", "dlx"})
SHELLS = frozenset({"sh", "bash", "zsh", "cmd", "cmd.exe", "powershell", "pwsh"})
_SECRET = re.compile(
    r"(?i)(?:token|secret|password|passwd|api[_-]?key|credential|private[_-]?key|access[_-]?key)"
)
_REFERENCE = re.compile(r"^\$?\{.*\}$|^\$[A-Za-z_]\w*$|^$")
_PINNED = re.compile(r"^(?:@[^@/]+/)?[^@]+@(?!latest$)[^@]+$|==|#sha")
_BROAD = frozenset({"/", "~", "$HOME", "${HOME}", "C:\\", "/home", "/Users", "/root"})
_PIPED = re.compile(r"(?:curl|wget)\b.*\|\s*(?:ba|z)?sh\b")


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody should look at."""

    level: Level
    rule: str
    says: str
    remedy: str = ""


def of_entry(entry: Entry) -> list[Risk]:
    """What the file alone says."""
    command = upstream_of(entry)
    found = [*_of_url(entry), *_of_secrets(entry)] + (_of_command(command) if command else [])
    url = url_of(entry)
    if not command and not url:
        found.append(Risk(level="medium", rule="no-command", says="it has neither a command nor a URL"))
    if (command or url) and not is_wrapped(entry):
        found.append(
            Risk(
                level="low",
                rule="no-guard",
                says="nothing looks at what it says and is asked",
                remedy=f"rune mcp wrap {entry.path} --server {entry.name}",
            )
        )
    return found


def shown(command: list[str]) -> list[str]:
    """The command without the values of options that look like credentials."""
    words: list[str] = []
    hide = False
    for word in command:
        name, equals, _ = word.partition("=")
        is_named = name.startswith("-") and _SECRET.search(name) is not None
        words.append("***" if hide else f"{name}=***" if is_named and equals else word)
        hide = is_named and not equals
    return words


def _of_url(entry: Entry) -> Iterable[Risk]:
    url = url_of(entry)
    if not url:
        return
    parts = parts_of(url)
    host = parts.hostname or ""
    if not host:
        yield Risk(level="high", rule="no-address", says="its URL is no address")
        return
    is_near = host == "localhost" or host.endswith(".localhost") or host in ("127.0.0.1", "::1")
    if parts.scheme != "https" and not is_near:
        yield Risk(
            level="high", rule="plain-text", says=f"it talks to {host} unencrypted", remedy="use https"
        )
    if parts.password or parts.username:
        yield Risk(
            level="high", rule="secret-in-url", says="its URL holds a credential", remedy="use a header"
        )


def _of_secrets(entry: Entry) -> Iterable[Risk]:
    given = {**entry.env, **entry.headers, **remotes.headers_of(entry)}
    for name, value in given.items():
        is_secret = _SECRET.search(name) or (name.lower() == "authorization")
        if is_secret and not _REFERENCE.match(value.removeprefix("Bearer ")):
            yield Risk(
                level="medium",
                rule="secret-in-file",
                says=f"the value of {name} stands in the file as it is",
                remedy="refer to an input or a variable of the host; keep the file to yourself (chmod 600)",
            )


def _of_command(command: list[str]) -> list[Risk]:
    program = command[0].replace("\\", "/").rpartition("/")[2]
    line = " ".join(command)
    found: list[Risk] = []
    if _PIPED.search(line):
        found.append(
            Risk(level="high", rule="piped-script", says="it runs a script straight from the network")
        )
    if program in SHELLS:
        found.append(Risk(level="medium", rule="shell", says=f"it is started through {program}"))
    if shown(command) != command:
        found.append(
            Risk(
                level="high",
                rule="secret-in-arguments",
                says="everybody on this machine can see its arguments",
                remedy="put the credential into env",
            )
        )
    if program == "sudo" or "--privileged" in command:
        found.append(Risk(level="high", rule="privileged", says="it runs with all rights on this machine"))
    package = next((word for word in command[1:] if not word.startswith("-")), "")
    if program in FETCHERS and package and not _PINNED.search(package):
        found.append(
            Risk(
                level="medium",
                rule="not-pinned",
                says=f"each start may fetch another version of {package}",
                remedy=f"name a version, as in {package.removesuffix('@latest')}@1.2.3",
            )
        )
    if broad := sorted(_BROAD.intersection(command[1:])):
        found.append(
            Risk(
                level="medium",
                rule="broad-folder",
                says=f"it is given {broad[0]}",
                remedy="give it one folder",
            )
        )
    return found


def of_tools(tools: Iterable[Json], *, others: Mapping[str, Collection[str]]) -> list[tuple[str, Risk]]:
    """What the descriptions of its tools say, by tool."""
    listed = list(tools)
    own = {name_of(tool) for tool in listed}
    return [
        (
            name_of(tool),
            Risk(level="high" if found.blocks else "low", rule=f"{found.kind}/{found.rule}", says=found.why),
        )
        for tool in listed
        for found in judge(tool, others=others, own=own)
    ]
