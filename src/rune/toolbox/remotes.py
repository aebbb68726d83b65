"""Puts the guard in front of a server at a URL: the entry becomes a command, and its headers an environment.

`--replaces` keeps the words that stood there, so that taking the guard away gives back every byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from rune.errors import FailedPrecondition, InvalidArgument, Violation
from rune.toolbox.edits import Edit
from rune.toolbox.hosts import URL_KEYS, Entry, parts_of
from rune.toolbox.jsonc import Node, parse

UPSTREAM_URL = "--upstream-url"
REPLACES = "--replaces"
HEADERS = "RUNE_UPSTREAM_HEADERS"
"""A JSON object of headers, such as Authorization: in the environment, since arguments can be seen by all."""
STREAMABLE = ("http", "streamable-http", "streamableHttp", "streamable_http")
"""What hosts call the transport that the guard speaks."""
NEAR = ("localhost", "127.0.0.1", "::1")
LOG_IN = ("auth", "oauth", "authorization")


def is_wrapped(command: Sequence[str]) -> bool:
    """The guard's command, for a server at a URL."""
    return UPSTREAM_URL in command[1:-1]


def url_of(command: Sequence[str]) -> str:
    """The server's URL behind the guard; empty for a command."""
    return command[command.index(UPSTREAM_URL) + 1] if is_wrapped(command) else ""


def headers_of(entry: Entry) -> dict[str, str]:
    """The headers that the guard of an entry is given; none where they cannot be read."""
    try:
        return headers(entry.env.get(HEADERS, ""))
    except InvalidArgument:
        return {}


def sent(entry: Entry) -> dict[str, str]:
    """The headers that its host, or the guard, sends to a server at a URL."""
    return headers_of(entry) if is_wrapped(entry.command) else entry.headers


def headers(given: str) -> dict[str, str]:
    """The headers in a text, with comments as in hosts' files; raises InvalidArgument, without quoting it."""
    try:
        return msgspec.convert(parse(given or "{}", HEADERS).value, dict[str, str])
    except (InvalidArgument, msgspec.ValidationError):
        # The error could quote the text, and that holds a credential.
        raise InvalidArgument.of(
            [Violation(HEADERS, 'must be a JSON object of texts, such as {"Authorization": "Bearer …"}')]
        ) from None


def why_not(entry: Entry, *, is_named: bool) -> str:
    """Why the guard cannot stand there, or should not unasked; empty when it can."""
    members = entry.node.members
    kind = members["type"].value if "type" in members else "http"
    if kind not in STREAMABLE or (kind == "http" and parts_of(entry.url).path.rstrip("/").endswith("/sse")):
        return f"the guard does not speak its transport ({'sse' if kind == 'http' else kind})"
    if "env" in members or "command" in members or "args" in members:
        return "it has a URL, and what only a command has"
    if any(word in members for word in LOG_IN):
        return "its host logs in to it, which does not pass through the guard"
    if "headers" in members and not _is_plain(members["headers"].value):
        return "its headers are not texts"
    if is_named or entry.headers or parts_of(entry.url).hostname in NEAR:
        return ""
    return "it is at a URL and may want a log-in of its host; name it with --server to guard it all the same"


def _is_plain(told: object) -> bool:
    return isinstance(told, dict) and all(isinstance(each, str) for each in told.values())  # pyright: ignore[reportUnknownVariableType] - JSON


def wrapping(entry: Entry, guard: str, options: Sequence[str], *, text: str) -> list[Edit]:
    """The edits that make a command of it."""
    members = entry.node.members
    url = members[entry.url_key]
    was = [entry.url_key, *([members["type"].value] if "type" in members else [])]
    words = [*options, REPLACES, ":".join(was), UPSTREAM_URL]
    edits = [
        Edit(*url.key, _quoted("command")),
        Edit(url.start, url.start, f'{_quoted(guard)}, "args": [{", ".join(map(_quoted, words))}, '),
        Edit(url.end, url.end, "]"),
    ]
    if "type" in members:
        edits.append(Edit(members["type"].start, members["type"].end, _quoted("stdio")))
    if "headers" in members:
        told = members["headers"]
        raw = _quoted(text[told.start : told.end])
        edits.append(Edit(*told.key, _quoted("env")))
        edits.append(Edit(told.start, told.end, f"{{{_quoted(HEADERS)}: {raw}}}"))
    return edits


def unwrapping(entry: Entry, *, text: str) -> list[Edit]:
    """The edits that take the guard away again; raises FailedPrecondition where somebody moved its parts."""
    members = entry.node.members
    command, arguments = members["command"], members["args"]
    words = [item.value for item in arguments.items]
    if REPLACES not in words[:-1] or words[-2] != UPSTREAM_URL or _between(command, arguments, text) != ",":
        raise FailedPrecondition(
            f"{entry.path}: {entry.name!r} is not as `rune mcp wrap` left it; edit it by hand (what was "
            "there before is in the file that ends in .before-rune)"
        )
    key, _, kind = str(words[words.index(REPLACES) + 1]).partition(":")
    url = arguments.items[-1]
    edits = [
        Edit(*command.key, _quoted(key if key in URL_KEYS else URL_KEYS[0])),
        Edit(command.start, url.start, ""),
        Edit(url.end, arguments.end, ""),
    ]
    if kind and "type" in members:
        edits.append(Edit(members["type"].start, members["type"].end, _quoted(kind)))
    if raw := entry.env.get(HEADERS, ""):
        env = members["env"]
        edits.append(Edit(*env.key, _quoted("headers")))
        edits.append(Edit(env.start, env.end, raw))
    return edits


def _between(first: Node, second: Node, text: str) -> str:
    """What stands between two members, without spaces."""
    return "".join(text[first.end : second.key[0]].split())


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)
