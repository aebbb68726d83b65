"""The Runefile: every setting of `runed`, with its default, its unit and its reason.

Only what something reads stands here; what the contract names and nothing reads yet is in `SUPPORTED_LATER`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

SUPPORTED_LATER: Final = {
    "crypto": "keys come with the secrets of a later release",
    "registries": "registries come with the Docker runner of a later release",
    "runner.docker": "the Docker runner comes with a later release",
    "runner.swarm": "the Swarm runner comes with a later release",
    "storage.url": "storage outside the data folder comes with a later release",
    "storage.secret-limits": "secrets have 64 keys of 64 KiB; other limits come with a later release",
    "server.tls": "it is called auth.tls here",
}
"""Settings of the contract that nothing reads yet: they are refused with the reason."""

Text = Annotated[str, Meta(max_length=4096)]


class Address(NamedTuple):
    """Where to listen. An empty host is every interface, port 0 any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Section(Struct, frozen=True, kw_only=True, rename="kebab"):
    """One section of the Runefile."""


class Server(Section, frozen=True, kw_only=True):
    """The doors of `runed`, and where it keeps things."""

    grpc_addr: Address = Address("127.0.0.1", 7863)
    """Where gRPC is served, as `host:port`; `:7863` is every interface. This machine alone by default, since
    tokens travel unencrypted as long as there is no TLS."""

    http_addr: Address = Address("127.0.0.1", 7861)
    """Where REST is served, as `host:port`; `:7861` is every interface."""

    data_dir: Path = Path("/var/lib/rune")
    """The folder of everything `runed` keeps. For anybody but root it is `$XDG_DATA_HOME/rune`, or
    `~/.local/share/rune`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged to standard error; `--debug` is short for `debug`."""

    log_format: Literal["json", "text"] = "json"
    """One JSON object a line for machines, or `text` for people; `--pretty` is short for `text`."""

    reflection: bool = False
    """Whether gRPC reflection lists the services. Off, since a stranger need not know them."""


class Tls(Section, frozen=True, kw_only=True):
    """Transport encryption. It is not part of this release: setting anything here is refused."""

    enabled: bool = False
    """Whether both doors speak TLS."""

    cert_file: Text = ""
    """The server's certificate, PEM."""

    key_file: Text = ""
    """The certificate's private key, PEM."""

    client_ca_file: Text = ""
    """The authority that client certificates must be signed by, PEM; empty asks for none."""


class Auth(Section, frozen=True, kw_only=True):
    """Who may talk to `runed`."""

    enabled: bool = True
    """Whether callers must show a token. It cannot be switched off; the setting exists for Runefiles that
    state the default."""

    allow_remote_admin: bool = False
    """Whether admin operations are answered to other machines too. Off, so that a stolen token alone gives
    nobody the power over users and rights."""

    tls: Tls = Tls()
    """Transport encryption."""


class Storage(Section, frozen=True, kw_only=True):
    """The store of what is wanted and what is so."""

    history: Annotated[int, Meta(ge=100, le=10_000_000)] = 10_000
    """How many changes are kept for watches that resume. One that was away for more is told to list again;
    each costs about 1 KiB of memory."""


class Process(Section, frozen=True, kw_only=True):
    """The runner of plain processes."""

    enabled: bool = True
    """Whether services may run as processes of this machine."""


class Runner(Section, frozen=True, kw_only=True):
    """What instances run on."""

    process: Process = Process()
    """Plain processes."""


class Limits(Section, frozen=True, kw_only=True):
    """How much one caller may ask; 0 is without limit."""

    calls_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Calls of one subject, all its tokens together. Without limit by default: whoever has a token is
    trusted not to flood the server, and controllers are busy callers."""

    streams_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Streams (logs, exec, watches) that one subject may open."""

    reads_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 100
    """Reading calls of the agent-security plane that one organization may make, unless it has a limit of its
    own."""

    writes_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 30
    """Changing calls of the agent-security plane that one organization may make."""

    events_per_second: Annotated[int, Meta(ge=0, le=10_000_000)] = 1_000
    """Security events that one organization may send; counted in events, not in requests, and a second's
    worth may come at once."""

    sdk_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 6_000
    """Questions for policies that one organization's agents may ask, apart from what people ask. A connected
    agent asks about twice a minute."""


class Events(Section, frozen=True, kw_only=True):
    """The security events that agents send."""

    retention_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """Days after which an event is dropped."""

    max_gib: Annotated[int, Meta(ge=1, le=100_000)] = 8
    """GiB that the events of all organizations may take; past it the oldest are dropped at any age."""


class Webhooks(Section, frozen=True, kw_only=True):
    """What is sent to other servers when there are alerts."""

    allow_private: bool = False
    """Whether webhooks may lead into private networks and to this machine. Off, so that nobody who may create
    a webhook can reach what only this server reaches."""


class Settings(Section, frozen=True, kw_only=True):
    """The whole Runefile."""

    server: Server = Server()
    """The doors of `runed`, and where it keeps things."""

    auth: Auth = Auth()
    """Who may talk to `runed`."""

    storage: Storage = Storage()
    """The store of what is wanted and what is so."""

    runner: Runner = Runner()
    """What instances run on."""

    limits: Limits = Limits()
    """How much one caller may ask."""

    events: Events = Events()
    """The security events that agents send."""

    webhooks: Webhooks = Webhooks()
    """What is sent to other servers when there are alerts."""
