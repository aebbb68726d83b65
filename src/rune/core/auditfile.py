"""The audit log without its server: verified in a store's file, a backup or an export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from rune.core.audit import JOURNAL
from rune.core.chain import Seal, Walk
from rune.core.store import copies
from rune.core.store.base import Entry
from rune.errors import FailedPrecondition, InvalidArgument

LONGEST_LINE: Final = 64 << 20


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an export: the seal, which is the first, or an entry."""

    seal: Seal | None = None
    sequence: int = 0
    entry: msgspec.Raw = msgspec.Raw(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a walk found; `problem` is empty where all is well."""

    entries: int
    seal: Seal
    problem: str
    bad: int


_line = msgspec.json.Decoder(Line)
_seal = msgspec.json.Decoder(Seal)


def of_store(path: Path, *, public_key: str = "") -> Report:
    """The log in a store's file or a backup; raises FailedPrecondition or Unavailable where it cannot be."""
    text = copies.resource(path, Seal().key)
    seal = _seal.decode(text) if text else Seal()
    pages = copies.journal(path, JOURNAL, after=seal.anchor)
    return _judged(seal, (entry for page in pages for entry in page), public_key)


def of_export(lines: Iterable[bytes], *, public_key: str = "") -> Report:
    """The log in an export; raises InvalidArgument for a file that is none."""
    rest = iter(lines)
    first = _read(next(rest, b"{}"), 1)
    if first.seal is None:
        raise InvalidArgument("this is no export of an audit log: its first line has no seal")
    return _judged(first.seal, _entries(rest), public_key)


def line_of(sequence: int, entry: str) -> bytes:
    """An entry as a line of an export; its characters stay as they are, since the hash is over them."""
    return msgspec.json.encode(Line(sequence=sequence, entry=msgspec.Raw(entry.encode()))) + b"\n"


def first_line(seal: Seal) -> bytes:
    """The seal as the first line of an export."""
    return msgspec.json.encode(Line(seal=seal)) + b"\n"


def _judged(seal: Seal, entries: Iterator[Entry], public_key: str) -> Report:
    walk = Walk(seal)
    problem = _foreign(seal, public_key)
    for entry in entries:
        if not walk.take(entry):
            break
    walk.end()
    return Report(entries=walk.entries, seal=seal, problem=problem or walk.problem, bad=walk.bad)


def _foreign(seal: Seal, public_key: str) -> str:
    if public_key and seal.public_key != public_key:
        return (
            f"the seal was signed with the key {seal.public_key or '(none)'}, not with the one that you named"
        )
    if seal.sequence and not seal.is_genuine:
        return "the seal's signature is wrong: the seal was changed"
    return ""


def _entries(lines: Iterator[bytes]) -> Iterator[Entry]:
    for number, text in enumerate(lines, start=2):
        line = _read(text, number)
        yield Entry(line.sequence, bytes(line.entry))


def _read(text: bytes, number: int) -> Line:
    try:
        return _line.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"line {number} cannot be read: it was changed ({error})") from error
