"""What nobody may read over a shoulder or in a list of processes: typed at a prompt, or read from a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rune.errors import InvalidArgument

MOST = 4096


def typed(what: str, path: str, *, twice: bool = False) -> str:
    """The text without its line end; `path` is a file, `-` stdin, or empty for a prompt."""
    if path:
        text = sys.stdin.read(MOST) if path == "-" else _read(what, path)
    else:
        text = click.prompt(what, hide_input=True, err=True, confirmation_prompt=twice)
    if not text.strip():
        raise InvalidArgument(f"the {what.lower()} is empty")
    return text.rstrip("\r\n")


def _read(what: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")[:MOST]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the {what.lower()} cannot be read from {path}: {error}") from error
