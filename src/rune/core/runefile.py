"""The Runefile: every setting of `runed`, with its default, its unit and its reason.

Only what something reads stands here; what the contract names and nothing reads yet is in `SUPPORTED_LATER`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

SUPPORTED_LATER: Final = {
    "events.url": "events are kept in the data folder; engines beyond it come with a later release",
    "runner.swarm": "the Swarm runner comes with a later release",
    "storage.url": "storage outside the data folder comes with a later release",
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
    tokens travel unencrypted as long as `auth.tls` is off."""

    http_addr: Address = Address("127.0.0.1", 7861)
    """Where REST is served, as `host:port`; `:7861` is every interface."""

    data_dir: Path = Path("/var/lib/rune")
    """The folder of everything `runed` keeps. For anybody but root it is `$XDG_DATA_HOME/rune`, or
    `~/.local/share/rune`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged to standard error; `--debug` is short for `debug`."""

    log_format: Literal["json", "text"] = "json"
    """One JSON object a line for machines, or `text` for people; `--pretty` is short for `text`."""

    allowed_hosts: Text = ""
    """Further names that HTTP clients may call this server by, with commas between. Needed where REST listens
    on this machine alone and a proxy passes its own name on: other names are refused there, since a web page
    could reach the port by a name that it made point here. Also the names of pages that may call it."""

    dashboard: bool = True
    """Whether browsers get the dashboard at `/` of the HTTP address; needs the extra `dashboard`."""

    reflection: bool = False
    """Whether gRPC reflection lists the services. Off, since a stranger need not know them."""


class Tls(Section, frozen=True, kw_only=True):
    """Transport encryption of both doors: TLS 1.2 or 1.3. SIGHUP reads the files again; what is no good is
    not used, and connections that are open stay so.
    """

    enabled: bool = False
    """Whether both doors speak TLS, and nothing else."""

    cert_file: Text = ""
    """The server's certificate and those of the authorities between it and the root, PEM."""

    key_file: Text = ""
    """The certificate's private key, PEM, without a password; a file that others may read is refused."""

    client_ca_file: Text = ""
    """The authority that client certificates must be signed by, PEM; empty asks for none. With it nobody
    gets in without a certificate, and one that names a user or service account stands for a token."""


class OidcGroup(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people of one group of the provider may do."""

    group: Text
    policies: tuple[Text, ...]
    """Names of grants."""


class Oidc(Section, frozen=True, kw_only=True):
    """Log-in at an OpenID provider. Whoever logs in becomes a user, with what their groups give; that is
    decided anew at each log-in.
    """

    issuer: Text = ""
    """The provider's issuer, exactly as it writes it: `https://login.example.com/realms/main`. Its
    configuration is found below it. Empty: there is no such log-in."""

    client_id: Text = ""
    """What the provider calls this server."""

    client_secret_file: Text = ""
    """The file with the client's secret, closed to everybody but its owner (0600). Empty for a public client,
    which PKCE alone protects."""

    scopes: Text = "openid profile email"
    """What is asked for, with blanks between; `openid` must be among it."""

    username_claim: Text = "preferred_username"
    """The claim that a user is named after; what a name cannot have becomes a hyphen."""

    groups_claim: Text = "groups"
    """The claim that lists the groups of whoever logs in."""

    groups: tuple[OidcGroup, ...] = ()
    """What groups give: a list of `group` and `policies`. In the environment it is JSON."""

    default_policies: Text = ""
    """Policies of whoever is in none of these groups, with commas between; empty lets nobody else in."""

    allowed_domains: Text = ""
    """Domains of e-mail addresses that may log in, with commas between; the provider must have verified the
    address. Empty: all of the provider's people."""

    redirect_url: Text = ""
    """Where the provider sends browsers back to, as it is registered there; its path is `/login/oidc/done`.
    By default the name that the browser calls this server by; needed behind a proxy that ends TLS."""

    title: Text = "single sign-on"
    """What the log-in page calls it: `Log in with …`."""


class Auth(Section, frozen=True, kw_only=True):
    """Who may talk to `runed`."""

    enabled: bool = True
    """Whether callers must show a token. It cannot be switched off; the setting exists for Runefiles that
    state the default."""

    allow_remote_admin: bool = False
    """Whether admin operations are answered to other machines too. Off, so that a stolen token alone gives
    nobody the power over users and rights."""

    session_access_ttl: timedelta = timedelta(minutes=15)
    """How long an access token of a session is good, as `15m`; from 1 minute to 1 day. Whoever takes one
    unseen has it for so long at most, as its session goes on with the next."""

    session_refresh_ttl: timedelta = timedelta(days=30)
    """How long a session lasts without a refresh, as `30d`; from 1 hour to 1 year. Sessions of browsers
    end after 2 hours without a page open, and after 12 hours in any case."""

    session_grace_window: timedelta = timedelta(seconds=30)
    """How long the tokens before a refresh are still good, as `30s`, since two programs may have used them at
    the same time; 10 minutes at most. After it an old refresh token ends its session."""

    oidc: Oidc = Oidc()
    """Log-in at an OpenID provider."""

    tls: Tls = Tls()
    """Transport encryption."""


class Kek(Section, frozen=True, kw_only=True):
    """The key that encrypts the keys of secrets and of registry credentials (KEK)."""

    source: Literal["generated", "file", "env"] = "generated"
    """Where the key comes from. `generated` makes one at the first start and keeps it as `kek` in the data
    folder, which protects copies of the database, not of the whole folder; `file` and `env` keep it apart."""

    file_path: Text = ""
    """The file of source `file`: one key a line, 32 bytes in base64, the first seals. It must be closed to
    everybody but its owner (0600)."""

    env_var: Text = "RUNE_MASTER_KEY"
    """The environment variable of source `env`: one key, or several with commas between, the first seals."""

    generate_if_missing: bool = False
    """Whether source `file` makes a missing file at the first start. Never once something is sealed: then a
    missing file is a lost key."""


class Crypto(Section, frozen=True, kw_only=True):
    """How secrets are encrypted where they are stored."""

    kek: Kek = Kek()
    """The key that encrypts the keys of secrets and of registry credentials (KEK)."""


class SecretLimits(Section, frozen=True, kw_only=True):
    """How large a secret may be. Only smaller limits than the contract's can be set."""

    max_keys_per_secret: Annotated[int, Meta(ge=1, le=64)] = 64
    """How many keys a secret has at most."""

    max_value_size: Annotated[int, Meta(ge=1, le=65_536)] = 65_536
    """How many bytes a value has at most."""


class Storage(Section, frozen=True, kw_only=True):
    """The store of what is wanted and what is so."""

    history: Annotated[int, Meta(ge=100, le=10_000_000)] = 10_000
    """How many changes are kept for watches that resume. One that was away for more is told to list again;
    each costs about 1 KiB of memory."""

    secret_limits: SecretLimits = SecretLimits()
    """How large a secret may be."""


class Process(Section, frozen=True, kw_only=True):
    """The runner of plain processes."""

    enabled: bool = True
    """Whether services may run as processes of this machine."""

    isolation: Literal["none", "default", "strict"] = "default"
    """`default` gives a service the sandbox and the limits that it asks for, and refuses what this machine
    cannot enforce. `strict` puts every process into a sandbox: a read-only file system, no capabilities but
    those it names, and, where `runed` is root, a user that is not. `none` makes no sandboxes, and refuses
    services that ask for one. In every mode a process gains no rights by what it executes."""


class Docker(Section, frozen=True, kw_only=True):
    """The runner of containers, on the Docker Engine of this machine."""

    enabled: Literal["auto", "true", "false"] = "auto"
    """Whether services may have an image. `auto` and `true` both use the Engine whenever it answers, and wait
    for it when it does not; `true` also warns at the start when it is not there."""

    socket: Text = "/var/run/docker.sock"
    """The socket of the Engine, as a path or `unix://` with a path. Whoever may talk to it is as mighty as
    root, so `runed` needs to be root or in its group."""


class Runner(Section, frozen=True, kw_only=True):
    """What instances run on."""

    docker: Docker = Docker()
    """Containers."""

    process: Process = Process()
    """Plain processes."""


class Limits(Section, frozen=True, kw_only=True):
    """How much one caller may ask; 0 is without limit."""

    calls_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Calls of one subject, all its tokens together. Without limit by default: whoever has a token is
    trusted not to flood the server, and controllers are busy callers."""

    streams_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Streams (logs, exec, watches) that one subject may open."""

    open_streams: Annotated[int, Meta(ge=1, le=100_000)] = 256
    """Streams that one subject may have open at the same time."""

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

    approvals_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 600
    """Questions about approvals that one API key may ask: one for each call that waits, and one for each
    answer."""


class Audit(Section, frozen=True, kw_only=True):
    """The audit log. What is older or more than this goes, the oldest first; the rest can be verified."""

    max_age_days: Annotated[int, Meta(ge=1, le=36_500)] = 365
    """Days that an entry is kept."""

    max_size_mib: Annotated[int, Meta(ge=1, le=1_048_576)] = 1024
    """MiB of entries that are kept; a change takes about 400 bytes."""


class Rollouts(Section, frozen=True, kw_only=True):
    """How carefully changed services are rolled out, all of them together."""

    max_surge: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """How many copies above their scales all services together may have while they are rolled out; more
    wait for their turn. 0 is 8, or a tenth of all copies where that is more: a small machine has room for
    the first, and the second is about the headroom that a large one should have anyway."""


class Registry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registry of container images, and where its credentials are. They stay in files of their own."""

    name: Text
    server: Text
    """Its host, or `*.example.com` for all below it."""
    type: Literal["basic", "token", "dockerconfigjson", "ecr"] = "basic"
    username: Text = ""
    password_file: Text = ""
    token_file: Text = ""
    config_file: Text = ""
    """A `config.json` as `docker login` writes it."""
    region: Text = ""
    from_secret: Text = ""
    """A secret of Rune, as NAME (in namespace `system`) or NAMESPACE/NAME."""


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


class Agents(Section, frozen=True, kw_only=True):
    """What services that are agents are told, so that they find this server."""

    endpoint: Text = ""
    """The address that agents are given, as `https://runed.example.com:7861`. By default where REST is
    served, at this machine's own address and under a name of the certificate; containers need one that is
    reached from their network."""

    ca_file: Text = ""
    """The authority that signed the server's certificate, PEM; agents are given a copy of it. By default the
    `ca.pem` beside `auth.tls.cert-file`, if there is one."""


class Settings(Section, frozen=True, kw_only=True):
    """The whole Runefile."""

    server: Server = Server()
    """The doors of `runed`, and where it keeps things."""

    auth: Auth = Auth()
    """Who may talk to `runed`."""

    storage: Storage = Storage()
    """The store of what is wanted and what is so."""

    crypto: Crypto = Crypto()
    """How secrets are encrypted where they are stored."""

    registries: tuple[Registry, ...] = ()
    """Registries of container images that are always there: a list of `name`, `server`, `type` (`basic`,
    `token`, `dockerconfigjson`, `ecr`), `username`, `password-file`, `token-file`, `config-file`, `region`
    and `from-secret`. Credentials are read from their files when an image is pulled. In the environment it
    is JSON."""

    runner: Runner = Runner()
    """What instances run on."""

    limits: Limits = Limits()
    """How much one caller may ask."""

    audit: Audit = Audit()
    """The audit log."""
    rollouts: Rollouts = Rollouts()
    """How carefully changed services are rolled out."""
    events: Events = Events()
    """The security events that agents send."""

    agents: Agents = Agents()
    """What services that are agents are told, so that they find this server."""

    webhooks: Webhooks = Webhooks()
    """What is sent to other servers when there are alerts."""
