"""What a client shows and asks of a server over TLS, and where a token may be sent without it."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from rune.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    import ssl

LOOPBACK = re.compile(r"localhost|.+\.localhost|127(?:\.\d{1,3}){3}|\[::1\]|::1")
OTHERS = 0o077


class Trust(NamedTuple):
    """How to speak TLS: all of it PEM, and all of it may be empty."""

    authority: bytes = b""
    """Whom the server's certificate must come from; the system's authorities where it is empty."""
    certificate: bytes = b""
    """Our own, for a server that asks for one …"""
    key: bytes = b""
    """… with its private key."""

    def __repr__(self) -> str:
        return f"Trust(authority={len(self.authority)} bytes, certificate={len(self.certificate)} bytes)"

    def context(self) -> ssl.SSLContext:
        """The same for libraries that stand on `ssl`."""
        import os  # noqa: PLC0415 - as the next
        import ssl  # noqa: PLC0415 - gRPC does without

        try:
            context = ssl.create_default_context(cadata=self.authority.decode("ascii", "replace") or None)
            if self.certificate:
                # The library takes files alone; this one is in memory, and ours.
                descriptor = os.memfd_create("rune-tls", os.MFD_CLOEXEC)
                with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                    file.write(self.key + b"\n" + self.certificate)
                    file.flush()
                    context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except ssl.SSLError as error:
            raise InvalidArgument(f"the certificates are no good: {error.reason or error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def read(*, authority: str = "", certificate: str = "", key: str = "") -> Trust:
    """The files at these paths; raises InvalidArgument for one that is away, or a key for all to read."""
    if bool(certificate) is not bool(key):
        raise InvalidArgument("a certificate and its key belong together: name both files, or none")
    return Trust(
        _bytes(authority, "the authority's certificate"),
        _bytes(certificate, "the certificate"),
        _bytes(key, "the key", private=True),
    )


def refuse_plain(address: str, token: str, *, insecure: bool) -> None:
    """Raise FailedPrecondition where the token would cross a network for everybody to read."""
    host = address.rpartition("://")[2] if "://" in address else address
    host = host.lstrip("/").partition("/")[0] if not address.startswith("unix:") else "localhost"
    host = host if host.endswith("]") else host.rpartition(":")[0] or host
    if not token or insecure or LOOPBACK.fullmatch(host.lower()):
        return
    raise FailedPrecondition(
        f"the token would travel to {host} unencrypted: use a grpcs:// or https:// address, or --insecure "
        "(RUNE_INSECURE=true) if you trust every machine in between"
    )


def _bytes(path: str, what: str, *, private: bool = False) -> bytes:
    if not path:
        return b""
    import os  # noqa: PLC0415 - plain connections do without all this

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes 3 ms to import
            mode, data = os.fstat(file.fileno()).st_mode, file.read(1 << 20)
    except OSError as error:
        raise InvalidArgument(f"{what} cannot be read: {path}: {error.strerror}") from error
    if private and stat.S_IMODE(mode) & OTHERS:
        raise InvalidArgument(f"others may read {what} {path}: run `chmod 600 {path}` first")
    return data
