"""Where the server is and who we are there: from the environment, else from the contexts of `rune config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rune.client.client import Transport
from rune.client.contexts import load
from rune.client.trust import read
from rune.core.clock import SystemClock

DEFAULT_SERVER: Final = "127.0.0.1:7863"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One server, and the token that says who we are."""

    server: str = DEFAULT_SERVER
    token: str = field(default="", repr=False)
    organization: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False
    """The token may travel unencrypted."""
    session: tuple[str, str] | None = None
    """The file and the name of the context whose session the token is of; None where it is of none."""


def settle(environ: Mapping[str, str], *, server: str = "", context: str = "") -> Settings:
    """An option goes before the environment, and that before the context.

    A token that a context keeps is for that context's server: it is sent to no other address. Raises
    NotFound for a context that there is not, InvalidArgument for a file that is not what it should be.
    """
    contexts = load(_path(environ))
    chosen = contexts.chosen(context)
    home = chosen.server or DEFAULT_SERVER
    address = server or environ.get("RUNE_SERVER", "") or home
    kept = chosen.token if address == home else ""
    is_session = bool(kept and chosen.refresh and not environ.get("RUNE_TOKEN", ""))
    return Settings(
        server=address,
        token=environ.get("RUNE_TOKEN", "") or kept,
        organization=environ.get("RUNE_ORGANIZATION", ""),
        ca_file=environ.get("RUNE_CA_FILE", "") or chosen.ca_file,
        cert_file=environ.get("RUNE_CERT_FILE", "") or chosen.cert_file,
        key_file=environ.get("RUNE_KEY_FILE", "") or chosen.key_file,
        insecure=environ.get("RUNE_INSECURE", "").lower() in ("1", "true", "yes")
        or (chosen.insecure.lower() == "true" and address == home),
        session=(_path(environ), context or contexts.current) if is_session else None,
    )


def _path(environ: Mapping[str, str]) -> str:
    return environ.get("RUNE_CLI_CONFIG", "") or f"{environ.get('HOME', '')}/.rune/config.yaml"


def transport(settings: Settings) -> Transport:
    """The transport of these settings; a session's token is renewed on the way."""
    if settings.session is None:
        return connected(settings)
    from rune.mcp.renewal import Renewing  # noqa: PLC0415 - as below

    path, name = settings.session
    return Renewing(
        path, name, connect=lambda token: connected(replace(settings, token=token)), clock=SystemClock()
    )


def connected(settings: Settings) -> Transport:
    """The transport that the address asks for: gRPC, or REST for one that begins with http."""
    address, insecure = settings.server, settings.insecure
    token, organization = settings.token, settings.organization
    secured = read(authority=settings.ca_file, certificate=settings.cert_file, key=settings.key_file)
    if address.startswith(("http://", "https://")):
        from rune.client.http import HttpTransport  # noqa: PLC0415 - each costs time that the other saves

        trust = secured if address.startswith("https://") else None
        return HttpTransport(address, token=token, organization=organization, trust=trust, insecure=insecure)
    from rune.client.grpc import GrpcTransport  # noqa: PLC0415 - as above

    target = address.removeprefix("grpcs://").removeprefix("grpc://")
    trust = secured if address.startswith("grpcs://") else None
    return GrpcTransport(target, token=token, organization=organization, trust=trust, insecure=insecure)
