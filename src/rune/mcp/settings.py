"""Where the server is and who we are there: from the environment, else from the contexts of `rune config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from rune.client.client import Transport
from rune.client.trust import read
from rune.errors import InvalidArgument, NotFound

DEFAULT_SERVER: Final = "127.0.0.1:7863"
MOST_BYTES: Final = 1 << 20


class _Context(msgspec.Struct, rename="camel"):
    """One server in the file of contexts."""

    server: str = ""
    token: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False


class _File(msgspec.Struct, rename="kebab"):
    """The file: `current-context` and `contexts`."""

    current_context: str = ""
    contexts: dict[str, _Context | None] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server, and the token that says who we are."""

    server: str = DEFAULT_SERVER
    token: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False
    """The token may travel unencrypted."""


def settle(environ: Mapping[str, str], *, server: str = "", context: str = "") -> Settings:
    """An option goes before the environment, and that before the context.

    A token that a context keeps is for that context's server: it is sent to no other address. Raises
    NotFound for a context that there is not, InvalidArgument for a file that is not what it should be.
    """
    chosen = _context(_path(environ), context)
    home = chosen.server or DEFAULT_SERVER
    address = server or environ.get("RUNE_SERVER", "") or home
    kept = chosen.token if address == home else ""
    return Settings(
        server=address,
        token=environ.get("RUNE_TOKEN", "") or kept,
        ca_file=environ.get("RUNE_CA_FILE", "") or chosen.ca_file,
        cert_file=environ.get("RUNE_CERT_FILE", "") or chosen.cert_file,
        key_file=environ.get("RUNE_KEY_FILE", "") or chosen.key_file,
        insecure=environ.get("RUNE_INSECURE", "").lower() in ("1", "true", "yes")
        or (chosen.insecure and address == home),
    )


def _path(environ: Mapping[str, str]) -> Path:
    named = environ.get("RUNE_CLI_CONFIG", "")
    return Path(named) if named else Path(environ.get("HOME", "/")) / ".rune" / "config.yaml"


def _context(path: Path, name: str) -> _Context:
    found = _read(path)
    wanted = name or found.current_context
    if not wanted:
        return _Context()
    if wanted not in found.contexts:
        known = ", ".join(found.contexts) or "there are none"
        raise NotFound(f"{path} has no context {wanted!r} ({known}); see `rune config list-contexts`")
    return found.contexts[wanted] or _Context()


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            data: Any = yaml.load(file.read(MOST_BYTES), Loader=yaml.CSafeLoader)
        return msgspec.convert(data or {}, _File)
    except FileNotFoundError:
        return _File()
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        reason = str(error) if isinstance(error, (OSError, msgspec.ValidationError)) else "it is not YAML"
        raise InvalidArgument(f"the contexts in {path} cannot be read: {reason}") from error


def transport(settings: Settings) -> Transport:
    """The transport that the address asks for: gRPC, or REST for one that begins with http."""
    address, token, insecure = settings.server, settings.token, settings.insecure
    secured = read(authority=settings.ca_file, certificate=settings.cert_file, key=settings.key_file)
    if address.startswith(("http://", "https://")):
        from rune.client.http import HttpTransport  # noqa: PLC0415 - each costs time that the other saves

        trust = secured if address.startswith("https://") else None
        return HttpTransport(address, token=token, trust=trust, insecure=insecure)
    from rune.client.grpc import GrpcTransport  # noqa: PLC0415 - as above

    target = address.removeprefix("grpcs://").removeprefix("grpc://")
    trust = secured if address.startswith("grpcs://") else None
    return GrpcTransport(target, token=token, trust=trust, insecure=insecure)
