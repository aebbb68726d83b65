"""Values that must not stand on a command line: from a prompt, a file or stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from rune.errors import InvalidArgument

F = TypeVar("F", bound=Callable[..., Any])

MOST_BYTES = 1 << 20
WAYS = "--prompt, --from-literal KEY=-, --from-file or --from-env-file"


def values(command: F) -> F:
    """The options by which a command takes the values of a secret."""
    for option in (
        click.option(
            "--from-env-file", metavar="PATH", multiple=True, help="Keys and values, a KEY=VALUE a line."
        ),
        click.option(
            "--from-file", metavar="[KEY=]PATH", multiple=True, help="A key from a file; - is stdin."
        ),
        click.option(
            "--from-literal",
            metavar="KEY=-",
            multiple=True,
            help="A key from stdin, without its last line break.",
        ),
        click.option(
            "--prompt", metavar="KEY", multiple=True, help="Ask for the key's value, without showing it."
        ),
    ):
        command = option(command)
    return command


def data(given: Mapping[str, Any]) -> dict[str, str]:
    """The values that the options say."""
    literals, files = given["from_literal"], given["from_file"]
    if len(literals) + sum(text.rpartition("=")[2] == "-" for text in files) > 1:
        raise click.UsageError("stdin can be the value of one key only")
    found = {**_from_env(given["from_env_file"]), **from_files(files)}
    for text in literals:
        key, _, value = text.partition("=")
        if value != "-":
            raise click.UsageError(
                f"--from-literal {key}=-: the value comes from stdin, since every process of this machine can"
                " read what stands on a command line"
            )
        found[key] = content("-").removesuffix("\n").removesuffix("\r")
    for key in given["prompt"]:
        found[key] = click.prompt(key, hide_input=True, err=True)
    return found


def from_files(texts: tuple[str, ...]) -> dict[str, str]:
    """`KEY=PATH`, or a path whose last part is the key."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, path = text.partition("=")
        found[key if equals else Path(text).name] = content(path if equals else text)
    return found


def _from_env(paths: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        for number, line in enumerate(content(path).splitlines(), start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            key, equals, value = text.partition("=")
            if not equals:
                raise InvalidArgument(f"{path}:{number}: this line is not KEY=VALUE")
            found[key.strip()] = _unquoted(value.strip())
    return found


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if is_quoted else text


def content(path: str) -> str:
    """A file's text; `-` is stdin. Raises InvalidArgument for what is too large or no text."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InvalidArgument(f"{path} is larger than {MOST_BYTES >> 20} MiB")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidArgument(f"{path} cannot be read: {why}") from error
