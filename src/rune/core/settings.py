"""Settings: a flag, else the environment, else the Runefile, else the default; checked before the start.

Every source gives text, with the place where it stands, and one parser reads it: a value means the same
wherever it comes from, and an error says where that is.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast, get_origin
from urllib.parse import urlsplit

import msgspec
import yaml

from rune.core.runefile import SUPPORTED_LATER, Auth, Oidc, Section, Settings, Tls
from rune.core.values import read
from rune.errors import InvalidArgument, Violation

DEFAULT_FILE: Final = Path("/etc/rune/runefile.yaml")
"""Read when it is there; any other file that is named must be."""
LARGEST: Final = 1 << 20
PREFIX: Final = "RUNE_"
DONE: Final = "/login/oidc/done"
"""Where an OpenID provider sends browsers back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One leaf of the Runefile."""

    path: str
    """Dotted, as in the file: `server.grpc-addr`."""
    hint: Any
    """Its type with its limits."""
    default: Any

    @property
    def is_list(self) -> bool:
        """It takes a list of sections, which in text is JSON."""
        return get_origin(self.hint) is tuple

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.path.upper().replace(".", "_").replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line said."""

    values: Mapping[str, str]
    """By dotted name."""
    file: Path = DEFAULT_FILE


@dataclass(frozen=True, slots=True)
class _Given:
    text: str
    where: str
    """For people: `line 3, column 5 of /etc/rune/runefile.yaml`."""


@dataclass(slots=True)
class _Findings:
    """What was given, the strongest source last, and everything that is wrong with it."""

    given: dict[str, _Given] = field(default_factory=dict[str, _Given])
    wrong: list[Violation] = field(default_factory=list[Violation])

    def take(self, path: str, text: str, where: str) -> None:
        """A value for a setting."""
        self.given[path] = _Given(text, where)

    def refuse(self, path: str, reason: str, where: str) -> None:
        """Something that cannot stand there."""
        self.wrong.append(Violation(path, f"{reason} ({where})" if where else reason))


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], file: Path, *, is_root: bool = False
) -> Settings:
    """The settings, whole and valid; raises InvalidArgument with everything that is wrong, and where.

    `flags` are settings by their dotted names (`server.grpc-addr`). Reads the file and nothing else.
    """
    found = _Findings()
    _read_file(file, found)
    _read_environment(environ, found)
    for path, text in flags.items():
        where = f"flag --{path.rpartition('.')[2]}"
        if path in SETTINGS:
            found.take(path, text, where)
        else:
            found.refuse(path, _unknown(path, SETTINGS), where)
    values = _parse_all(found)
    values.setdefault("server.data-dir", data_dir(environ, is_root=is_root))
    settings = cast("Settings", _built(Settings, values, ""))
    _check(settings, found)
    if found.wrong:
        raise InvalidArgument.of(found.wrong)
    return settings


def parse(argv: Sequence[str]) -> Flags:
    """Read the command line of `runed`; exits with status 2 for one it does not understand."""
    parser = argparse.ArgumentParser(prog="runed", description="The Rune daemon.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"runed {version('runesec')}")
    parser.add_argument("--config", type=Path, default=DEFAULT_FILE, help=f"the Runefile ({DEFAULT_FILE})")
    for path, setting in SETTINGS.items():
        if path.startswith("server.") and setting.hint is not bool:
            parser.add_argument(f"--{path.removeprefix('server.')}", dest=path, help=f"sets {path}")
    for flag, path, text in (("debug", "server.log-level", "debug"), ("pretty", "server.log-format", "text")):
        parser.add_argument(
            f"--{flag}", dest=path, action="store_const", const=text, help=f"short for {path} {text}"
        )
    said = vars(parser.parse_args(argv))
    file: Path = said.pop("config")
    return Flags(values={path: text for path, text in said.items() if text is not None}, file=file)


def data_dir(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """Where things are kept unless told otherwise."""
    if is_root:
        return Path("/var/lib/rune")
    home = environ.get("XDG_DATA_HOME") or f"{environ.get('HOME') or '.'}/.local/share"
    return Path(home) / "rune"


def _leaves(section: type[Section], prefix: str) -> Iterator[Setting]:
    for each in msgspec.structs.fields(section):
        path = prefix + each.encode_name
        if inner := _section(each):
            yield from _leaves(inner, f"{path}.")
        else:
            yield Setting(path=path, hint=each.type, default=each.default)


def _section(each: msgspec.structs.FieldInfo) -> type[Section] | None:
    kind: Any = each.type
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


SETTINGS: Final = {setting.path: setting for setting in _leaves(Settings, "")}
"""Every setting by its dotted name."""
VARIABLES: Final = {setting.variable: path for path, setting in SETTINGS.items()}
SHIELDS: Final = frozenset({"RUNE_EVENTS_ENABLED"})
"""Variables of the SDK that begin like one of our sections."""
SECTIONS: Final = frozenset(
    path.rsplit(".", depth)[0] for path in SETTINGS for depth in range(1, path.count(".") + 1)
)


def _read_file(file: Path, found: _Findings) -> None:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except FileNotFoundError:
        if file != DEFAULT_FILE:
            found.refuse(str(file), "the Runefile does not exist", "--config")
        return
    except OSError as error:
        found.refuse(str(file), f"the Runefile cannot be read: {error.strerror}", "")
        return
    if len(data) > LARGEST:
        found.refuse(str(file), f"the Runefile has more than {LARGEST} bytes", "")
        return
    try:
        root = yaml.compose(data, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        found.refuse(str(file), f"the Runefile is not YAML: {' '.join(str(error).split())[:300]}", "")
        return
    if root is not None and not _is_null(root):
        _Walk(str(file), found).section(root, "")


class _Walk:
    """Goes through the nodes of a Runefile; nothing below an unknown name is looked at."""

    def __init__(self, file: str, found: _Findings) -> None:
        self._file = file
        self._found = found
        self._seen: set[str] = set()

    def section(self, node: yaml.Node, prefix: str) -> None:
        """A mapping of names to values or further sections."""
        if not isinstance(node, yaml.MappingNode):
            name = prefix.rstrip(".") or "the Runefile"
            self._found.refuse(prefix.rstrip("."), f"{name} is a section: names with values", self._at(node))
            return
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            self._entry(prefix + str(name).replace("_", "-"), key, value)

    def _entry(self, path: str, key: yaml.Node, value: yaml.Node) -> None:
        where = self._at(key)
        if path in self._seen:
            self._found.refuse(path, "is there twice", where)
        elif path in SECTIONS:
            if not _is_null(value):
                self.section(value, f"{path}.")
        elif path in SETTINGS:
            self._value(path, value)
        elif path in SUPPORTED_LATER:
            self._found.refuse(path, f"is not supported in this release: {SUPPORTED_LATER[path]}", where)
        else:
            prefix = path.rpartition(".")[0]
            near = [each for each in (*SETTINGS, *SECTIONS) if each.rpartition(".")[0] == prefix]
            self._found.refuse(path, _unknown(path, near), where)
        self._seen.add(path)

    def _value(self, path: str, node: yaml.Node) -> None:
        if SETTINGS[path].is_list and isinstance(node, yaml.SequenceNode):
            self._found.take(path, _as_json(node), self._at(node))
        elif not isinstance(node, yaml.ScalarNode):
            self._found.refuse(path, "takes one value, not a list or a section", self._at(node))
        elif _is_null(node):
            self._found.refuse(path, "has no value: give it one or leave it out", self._at(node))
        else:
            self._found.take(path, str(node.value), self._at(node))

    def _at(self, node: yaml.Node) -> str:
        mark = node.start_mark
        return f"line {mark.line + 1}, column {mark.column + 1} of {self._file}"


def _as_json(node: yaml.SequenceNode) -> str:
    """A list as the text that the environment would have for it."""
    loader: Any = yaml.SafeLoader("")  # its stubs do not say what it constructs
    return msgspec.json.encode(_hyphened(loader.construct_document(node))).decode()


def _hyphened(plain: object) -> object:
    """Names of settings may be written with `_`, in lists as well."""
    if isinstance(plain, dict):
        pairs = cast("dict[object, object]", plain).items()
        return {str(key).replace("_", "-"): _hyphened(value) for key, value in pairs}
    return [_hyphened(item) for item in cast("list[object]", plain)] if isinstance(plain, list) else plain


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _read_environment(environ: Mapping[str, str], found: _Findings) -> None:
    """Other variables that begin with RUNE_ are somebody else's, unless they begin like a section."""
    tops = tuple(f"{PREFIX}{section.upper()}_" for section in SECTIONS if "." not in section)
    for name in sorted(environ):
        if name in VARIABLES:
            found.take(VARIABLES[name], environ[name], f"environment variable {name}")
        elif name.startswith(tops) and name not in SHIELDS:
            found.refuse(name, _unknown(name, VARIABLES), "environment")


def _unknown(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    nearest = get_close_matches(word, list(known), n=1, cutoff=0.5)
    names = ", ".join(each.rpartition(".")[2] for each in known)
    return f"is unknown; did you mean {nearest[0]}?" if nearest else f"is unknown; there are {names}"


def _parse_all(found: _Findings) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, given in found.given.items():
        try:
            values[path] = read(given.text.strip(), SETTINGS[path].hint)
        except ValueError as error:
            found.refuse(path, str(error), given.where)
    return values


def _built(section: type[Section], values: Mapping[str, Any], prefix: str) -> Section:
    given: dict[str, Any] = {}
    for each in msgspec.structs.fields(section):
        path = prefix + each.encode_name
        if inner := _section(each):
            given[each.name] = _built(inner, values, f"{path}.")
        elif path in values:
            given[each.name] = values[path]
    return section(**given)


def _check(settings: Settings, found: _Findings) -> None:
    """What only several settings together, or this release, make wrong."""
    if not settings.auth.enabled:
        _refuse(found, "auth.enabled", "callers always show a token: leave it out, or set it to true")
    _check_tls(settings.auth.tls, found)
    _check_sessions(settings.auth, found)
    _check_oidc(settings.auth.oidc, found)
    if settings.runner.docker.enabled == "false" and not settings.runner.process.enabled:
        _refuse(found, "runner.process.enabled", "every runner is switched off: nothing could run")
    if not settings.runner.docker.socket.removeprefix("unix://").startswith("/"):
        _refuse(found, "runner.docker.socket", "takes the whole path of a socket of this machine")
    kek = settings.crypto.kek
    if kek.source == "file" and not kek.file_path.startswith("/"):
        _refuse(found, "crypto.kek.file-path", "takes a whole path when crypto.kek.source is file")
    names = [each.name for each in settings.registries]
    for name in sorted({name for name in names if names.count(name) > 1}):
        _refuse(found, "registries", f"has two entries named {name!r}")
    grpc, http = settings.server.grpc_addr, settings.server.http_addr
    if grpc == http and grpc.port:
        _refuse(found, "server.http-addr", f"{http} is the address of gRPC already")
    if settings.server.data_dir.parts[:1] == ("~",):
        _refuse(found, "server.data-dir", "takes a whole path: `~` is the shell's word")


def _check_sessions(auth: Auth, found: _Findings) -> None:
    for name, value, least, most in (
        ("session-access-ttl", auth.session_access_ttl, timedelta(minutes=1), timedelta(days=1)),
        ("session-refresh-ttl", auth.session_refresh_ttl, timedelta(hours=1), timedelta(days=366)),
        ("session-grace-window", auth.session_grace_window, timedelta(0), timedelta(minutes=10)),
    ):
        if not least <= value <= most:
            _refuse(found, f"auth.{name}", f"is from {least} to {most} (days, hours:minutes:seconds)")


def _check_oidc(oidc: Oidc, found: _Findings) -> None:
    if not oidc.issuer:
        if oidc.client_id:
            _refuse(found, "auth.oidc.client-id", "has no effect without auth.oidc.issuer: set that too")
        return
    for name, url in (("issuer", oidc.issuer), ("redirect-url", oidc.redirect_url)):
        if url and not is_safe(url):
            _refuse(found, f"auth.oidc.{name}", "takes an https:// address (http:// on this machine alone)")
    if oidc.redirect_url and not oidc.redirect_url.endswith(DONE):
        _refuse(found, "auth.oidc.redirect-url", f"ends in {DONE}, where the dashboard expects browsers")
    if not oidc.client_id:
        _refuse(found, "auth.oidc.client-id", "must say what the provider calls this server")
    if "openid" not in oidc.scopes.split():
        _refuse(found, "auth.oidc.scopes", "must have openid among them")
    if not oidc.groups and not oidc.default_policies:
        _refuse(found, "auth.oidc.groups", "must give somebody something, or default-policies must")


def is_safe(url: str) -> bool:
    """Nobody on the way reads it: TLS, or this very machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_tls(tls: Tls, found: _Findings) -> None:
    files = {"cert-file": tls.cert_file, "key-file": tls.key_file}
    for name, path in files.items():
        if tls.enabled and not path:
            _refuse(found, f"auth.tls.{name}", "must name a file when auth.tls.enabled is true")
    for name, path in {**files, "client-ca-file": tls.client_ca_file}.items():
        if path and not tls.enabled:
            _refuse(found, f"auth.tls.{name}", "has no effect without auth.tls.enabled: set that to true too")


def _refuse(found: _Findings, path: str, reason: str) -> None:
    given = found.given.get(path)
    found.refuse(path, reason, given.where if given else "")
