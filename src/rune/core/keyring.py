"""Keyring: the keys that encrypt the keys of sealed values (KEKs). The first seals, all of them open.

The text of a keyring is one key a line (or separated by commas): 32 bytes in base64. A key is known by a hash
of itself, so that a sealed value can say which one it needs without a name that somebody has to keep.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rune.core.runefile import Kek as KekSettings
from rune.errors import FailedPrecondition

SIZE: Final = 32
MOST: Final = 64
"""Keys of one ring; an operator who has more has forgotten to rotate."""
LARGEST: Final = 1 << 16
HEAD: Final = "# Keys of sealed values (crypto.kek): whoever has one can open them. The first seals.\n"


class Key:
    """One key. It cannot be printed."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.id = sha256(b"rune kek id\0" + raw).hexdigest()[:16]
        self.cipher = AESGCM(raw)

    def __repr__(self) -> str:
        return f"Key({self.id}, ***)"


class Keyring(Protocol):
    """Where keys are kept. `keys` is never empty; the first seals, the others only open."""

    @property
    def keys(self) -> Sequence[Key]:
        """All of them."""
        ...

    @property
    def place(self) -> str:
        """Where they are, for people."""
        ...

    def extend(self) -> None:
        """Make a new first key, durably; raises FailedPrecondition where that is for the operator to do."""
        ...

    def shorten(self) -> None:
        """Forget all but the first, durably, where this server may write."""
        ...


class FileKeyring:
    """Keys in a file of which everybody but runed's own user is kept out."""

    def __init__(self, path: Path, keys: Sequence[Key], *, entropy: Callable[[int], bytes]) -> None:
        self.path = path
        self.keys = tuple(keys)
        self._entropy = entropy

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    def extend(self) -> None:
        """The file has the new key and the old ones before the new one is used."""
        self._write((Key(self._entropy(SIZE)), *self.keys))

    def shorten(self) -> None:
        """The file has the first key alone."""
        if len(self.keys) > 1:
            self._write(self.keys[:1])

    def _write(self, keys: Sequence[Key]) -> None:
        try:
            _replace(self.path, _text(keys))
        except OSError as error:
            raise FailedPrecondition(
                f"the KEK file {self.path} cannot be written ({error.strerror}): write a new key in front of"
                " the old one yourself, restart runed, and rotate again"
            ) from error
        self.keys = tuple(keys)


class EnvKeyring:
    """Keys from the environment, which only the operator can change."""

    def __init__(self, variable: str, keys: Sequence[Key]) -> None:
        self.variable = variable
        self.keys = tuple(keys)

    @property
    def place(self) -> str:
        """The variable."""
        return f"environment variable {self.variable}"

    def extend(self) -> None:
        """Refused, with what to do instead."""
        raise FailedPrecondition(
            f"the KEK comes from {self.place}: set it to NEW,OLD, restart runed, rotate again, and then"
            " leave OLD out"
        )

    def shorten(self) -> None:
        """Nothing: the operator leaves the old key out at the next start."""


def find(
    kek: KekSettings,
    data: Path,
    environ: Mapping[str, str],
    *,
    is_new: bool,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Keyring:
    """The keyring that the settings name; raises FailedPrecondition with the remedy.

    A missing file is made only where nothing was sealed yet (`is_new`): otherwise its key is lost or in
    another place, and a fresh one would open nothing.
    """
    if kek.source == "env":
        text = environ.get(kek.env_var, "")
        if not text.strip():
            raise FailedPrecondition(f"crypto.kek: environment variable {kek.env_var} is empty or not set")
        return EnvKeyring(kek.env_var, parse(text, f"environment variable {kek.env_var}"))
    path = Path(kek.file_path) if kek.source == "file" else data / "kek"
    makes = kek.source == "generated" or kek.generate_if_missing
    try:
        return FileKeyring(path, parse(_read(path), str(path)), entropy=entropy)
    except FileNotFoundError as error:
        if makes and is_new:
            return _made(path, entropy)
        what = "secrets were sealed with a key that was there" if makes else "make one, or let runed do it"
        remedy = "put it back" if makes else "crypto.kek.generate-if-missing"
        raise FailedPrecondition(f"the KEK file {path} does not exist: {what} ({remedy})") from error
    except OSError as error:
        raise FailedPrecondition(f"the KEK file {path} cannot be read: {error.strerror}") from error


def parse(text: str, place: str) -> list[Key]:
    """The keys of a text; raises FailedPrecondition that says where, and never what, is wrong."""
    lines = [line.strip() for line in text.replace(",", "\n").splitlines()]
    keys: list[Key] = []
    for number, line in enumerate(lines, start=1):
        if line and not line.startswith("#"):
            keys.append(_key(line, f"key {number} in {place}"))
    if not keys:
        raise FailedPrecondition(f"{place} has no key: it takes {SIZE} bytes in base64")
    if len(keys) > MOST:
        raise FailedPrecondition(f"{place} has {len(keys)} keys; {MOST} are the most")
    return keys


def _key(line: str, where: str) -> Key:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise FailedPrecondition(f"{where}: is not base64") from None  # the cause may quote it
    if len(raw) != SIZE:
        raise FailedPrecondition(f"{where}: has {len(raw)} bytes, not {SIZE}")
    return Key(raw)


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise FailedPrecondition(f"the KEK file {path} is not a file")
        if seen.st_mode & 0o077:
            mode = stat.S_IMODE(seen.st_mode)
            raise FailedPrecondition(
                f"the KEK file {path} is open to others (mode {mode:04o}): chmod 600 {path}"
            )
        if seen.st_uid not in (os.geteuid(), 0):
            raise FailedPrecondition(f"the KEK file {path} belongs to uid {seen.st_uid}: chown it to runed's")
        return file.read(LARGEST).decode("ascii", errors="replace")


def _made(path: Path, entropy: Callable[[int], bytes]) -> FileKeyring:
    key = Key(entropy(SIZE))
    try:
        _replace(path, _text([key]))
    except OSError as error:
        raise FailedPrecondition(f"the KEK file {path} cannot be made: {error.strerror}") from error
    return FileKeyring(path, [key], entropy=entropy)


def _text(keys: Sequence[Key]) -> bytes:
    lines = [base64.b64encode(key.raw).decode() + "\n" for key in keys]
    return (HEAD + "".join(lines)).encode()


def _replace(path: Path, data: bytes) -> None:
    """A crash leaves the old file or the new one, whole and on the disk."""
    real = path.resolve()  # a link to a file elsewhere stays one
    fresh = real.with_name(f"{real.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    fresh.rename(real)
    folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
