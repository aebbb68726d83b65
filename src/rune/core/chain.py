"""The chain of the audit log: each entry holds the SHA-256 over the one before and itself.

What is recorded of the chain's end, a seal, is signed with a key of the server's own. With a seal that was
kept elsewhere, entries that were cut off at the end are missed too, and a chain written anew is found out.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rune.api.fields import Timestamp
from rune.api.resource import Key, Resource
from rune.core.keyfiles import read_private, write_private
from rune.core.store.base import Entry
from rune.errors import FailedPrecondition

START: Final = sha256(b"rune audit log").hexdigest()
"""What the first entry is chained to."""
BROKEN: Final = "audit_broken"
"""The operation of a record in which the server itself says that entries were missing when it started."""
KEY_BYTES: Final = 32


class Link(msgspec.Struct, frozen=True):
    """One entry of the journal as it is written. The records stay raw: the hash is over their very bytes."""

    hash: str
    records: msgspec.Raw


class Seal(Resource):
    """Where the chain begins and ends, as the server last wrote it down; by itself it proves who did."""

    KIND: ClassVar[str] = "audit-seal"

    sequence: int = 0
    """Of the newest entry."""
    hash: str = START
    anchor: int = 0
    """The newest entry that was dropped by age or size; the chain is judged from the one after it."""
    anchor_hash: str = START
    size: int = 0
    """Bytes of the entries in between."""
    time: Timestamp = None
    public_key: str = ""
    signature: str = ""

    @property
    def key(self) -> Key:
        """There is one."""
        return Key(self.KIND, "system", self.KIND)

    @property
    def is_genuine(self) -> bool:
        """It was signed with the private half of the key that it names."""
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
            public.verify(bytes.fromhex(self.signature), _signed(self))
        except (ValueError, InvalidSignature):
            return False
        return True


class Signer:
    """Signs seals. The private key never leaves it."""

    def __init__(self, key: Ed25519PrivateKey | None = None) -> None:
        self._key = key or Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw().hex()

    @classmethod
    def at(cls, path: Path) -> Signer:
        """The key in the file, which is made where there is none; raises FailedPrecondition for a bad one."""
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            write_private(path, key.private_bytes_raw().hex().encode() + b"\n")
            return cls(key)
        try:
            data = bytes.fromhex(read_private(path, "the key of the audit log").decode().strip())
            return cls(Ed25519PrivateKey.from_private_bytes(data))
        except ValueError as error:
            raise FailedPrecondition(f"{path} is not a key of the audit log: restore it") from error

    def signed(self, seal: Seal, now: datetime) -> Seal:
        """The seal, dated and signed."""
        dated = msgspec.structs.replace(seal, time=now, public_key=self.public_key)
        return msgspec.structs.replace(dated, signature=self._key.sign(_signed(dated)).hex())


def _signed(seal: Seal) -> bytes:
    time = seal.time.isoformat() if seal.time else ""
    facts = (seal.sequence, seal.hash, seal.anchor, seal.anchor_hash, seal.size, time, seal.public_key)
    return msgspec.json.encode(facts)


class Walk:
    """Judges a chain entry by entry, from a seal's anchor on. Nothing after the first fault is judged."""

    def __init__(self, seal: Seal | None = None) -> None:
        self._seal = seal or Seal()
        self.sequence, self.hash = self._seal.anchor, self._seal.anchor_hash
        self.entries = 0
        self.bad = 0
        """The sequence of the first entry that does not fit; 0 while all do."""
        self.problem = ""

    def take(self, entry: Entry) -> bool:
        """Judge the next entry; False when it does not fit, `problem` says how."""
        if self.problem:
            return False
        expected = self.sequence + 1
        fault = self._fault(entry, expected)
        if fault:
            return self._fail(expected, fault)
        self.sequence, self.hash = entry.sequence, link(entry).hash
        self.entries += 1
        if self.sequence == self._seal.sequence and self.hash != self._seal.hash:
            return self._fail(
                expected, f"entry {expected} is another than the seal names: the log was rewritten"
            )
        return True

    def end(self) -> None:
        """There are no more entries; those that the seal knows of must have come."""
        if not self.problem and self.sequence < self._seal.sequence:
            missing = f"entries {self.sequence + 1} to {self._seal.sequence} were cut off at the end"
            self._fail(self.sequence + 1, missing)

    def _fault(self, entry: Entry, expected: int) -> str:
        if entry.sequence > expected:
            last = entry.sequence - 1
            return (
                f"entry {expected} is missing"
                if last == expected
                else f"entries {expected} to {last} are missing"
            )
        if entry.sequence < expected:
            return f"entry {entry.sequence} stands after entry {self.sequence}"
        try:
            found = link(entry)
        except msgspec.MsgspecError:
            return f"entry {expected} cannot be read: it was changed"
        if found.hash != chained(self.hash, bytes(found.records)):
            return f"entry {expected} was changed, or is not the one that followed entry {self.sequence}"
        return broken(entry, found)

    def _fail(self, sequence: int, problem: str) -> bool:
        self.bad, self.problem = sequence, problem
        return False


class _Note(msgspec.Struct):
    operation: str
    message: str = ""


_notes = msgspec.json.Decoder(list[_Note])
_links = msgspec.json.Decoder(Link)


def broken(entry: Entry, found: Link) -> str:
    """What the server itself wrote about a break, if this entry is where it did."""
    if BROKEN.encode() not in entry.payload:
        return ""
    said = [note.message for note in _notes.decode(found.records) if note.operation == BROKEN]
    return f"entry {entry.sequence} says: {said[0]}" if said else ""


def link(entry: Entry) -> Link:
    """The entry's hash and records; raises MsgspecError for what is none."""
    try:
        return _links.decode(entry.payload)
    except UnicodeDecodeError as error:  # which the library lets through
        raise msgspec.DecodeError(str(error)) from error


def chained(hash: str, body: bytes) -> str:
    """The hash of an entry with these records, after one with that hash."""
    return sha256(hash.encode() + b"\n" + body).hexdigest()
