"""Answers on stdout: JSON and YAML of whole messages, and the words of tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from rune.api.fields import Message, WireEnum
from rune.cli import table

_OBEYED = {code: f"\\u{code:04x}" for code in range(0x80, 0xA0)}
"""Control characters that JSON leaves as they are, and how JSON can write them."""


def show(message: Message, format: str) -> None:
    """One thing as an object."""
    write(_plain()(message), format)


def show_all(messages: Sequence[Message], format: str) -> None:
    """A list as an array."""
    show_plain = _plain()
    write([show_plain(message) for message in messages], format)


def _plain() -> Callable[[Message], dict[str, Any]]:
    from rune.api.wirejson import to_plain  # noqa: PLC0415 - tables do without

    return to_plain


def write(plain: Any, format: str) -> None:  # noqa: ANN401 - whatever is plain data
    """Plain data as JSON or YAML."""
    if format == "json":
        click.echo(as_json(plain, indent=2))
        return
    import yaml  # noqa: PLC0415 - slow to import, and only this format needs it

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    click.echo(
        yaml.dump(msgspec.to_builtins(plain), Dumper=dumper, sort_keys=False, allow_unicode=True), nl=False
    )


def as_json(plain: Any, *, indent: int = -1) -> str:  # noqa: ANN401 - whatever is plain data
    """Plain data as JSON, in one line unless told otherwise, and nothing in it that a terminal would obey."""
    encoded = msgspec.json.encode(plain)
    text = (encoded if indent < 0 else msgspec.json.format(encoded, indent=indent)).decode()
    return text if text.isascii() else text.translate(_OBEYED)


def show_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, show_headers: bool = True) -> None:
    """A table, as wide as the terminal at most."""
    width = table.terminal_width()
    for line in table.render(headers, rows, width=width, show_headers=show_headers):
        click.echo(line)


def show_readable(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without the last columns where a terminal has no room for them; says so."""
    sizes = [max(len(head), *(table.columns(row[at]) for row in rows)) for at, head in enumerate(headers)]
    room = table.roomy(sizes, table.terminal_width())
    show_table(headers[:room], [row[:room] for row in rows])
    if left_out := ", ".join(headers[room:]):
        click.echo(f"no room for {left_out}: -o json has everything", err=True)


def word(value: WireEnum | str) -> str:
    """What people say for a word of the wire: `SERVICE_STATUS_RUNNING` is Running."""
    last = str(value)
    for kind in ("_STATUS_", "_POLICY_", "_TYPE_", "_STATE_", "_WHEN_"):
        last = last.rpartition(kind)[2]
    return "" if last == "UNSPECIFIED" else last.capitalize().replace("_", "-")


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in its largest unit: `42s`, `3m`, `7h`, `12d`, `2y`."""
    if at is None:
        return "-"
    seconds = max(int((now.astimezone(UTC) - at).total_seconds()), 0)
    for unit, size in (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def colour(text: str, name: str, *, environ: Any) -> str:  # noqa: ANN401 - os.environ or a mapping like it
    """The text in a colour where colours are shown: on a terminal, and NO_COLOR is not set."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return click.style(text, fg=name)
