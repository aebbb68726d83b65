"""Settings: four sources, one parser, every error with its place, and never a half-read Runefile."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.core.runefile import SUPPORTED_LATER, Address, Settings
from rune.core.settings import DEFAULT_FILE, LARGEST, SETTINGS, VARIABLES, load, parse
from rune.errors import InvalidArgument

EXAMPLES = {
    "server.grpc-addr": ":1",
    "server.http-addr": "[::1]:2",
    "server.data-dir": "/srv/rune",
    "server.log-level": "debug",
    "server.log-format": "text",
    "server.dashboard": "false",
    "server.reflection": "true",
    "server.allowed-hosts": "rune.example.com,other",
    "auth.enabled": "true",
    "auth.allow-remote-admin": "yes",
    "storage.history": "500",
    "runner.docker.enabled": "true",
    "runner.docker.socket": "unix:///run/user/1000/docker.sock",
    "storage.secret-limits.max-keys-per-secret": "8",
    "storage.secret-limits.max-value-size": "1024",
    "crypto.kek.source": "env",
    "crypto.kek.file-path": "/etc/rune/kek",
    "crypto.kek.env-var": "KEK",
    "crypto.kek.generate-if-missing": "true",
    "registries": '[{"name": "hub", "server": "docker.io", "password-file": "/run/hub"}]',
    "runner.process.enabled": "off",
    "runner.process.isolation": "strict",
    "limits.calls-per-minute": "100",
    "limits.streams-per-minute": "30",
    "limits.open-streams": "12",
    "audit.max-age-days": "30",
    "audit.max-size-mib": "64",
    "rollouts.max-surge": "3",
    "limits.reads-per-minute": "7",
    "limits.writes-per-minute": "7",
    "limits.events-per-second": "7",
    "limits.sdk-per-minute": "7",
    "events.retention-days": "7",
    "events.max-gib": "1",
    "webhooks.allow-private": "true",
    "agents.endpoint": "https://runed.example.com:7861",
    "agents.ca-file": "/etc/rune/certs/ca.pem",
    "limits.approvals-per-minute": "5",
    "auth.session-access-ttl": "5m",
    "auth.session-refresh-ttl": "7d",
    "auth.session-grace-window": "1m",
}
"""Another value than the default for every setting that may have one."""

OIDC = """
auth:
  oidc:
    issuer: https://login.example.com/main
    client-id: rune
    client_secret_file: /etc/rune/secret
    scopes: openid email groups
    username-claim: email
    groups-claim: roles
    groups: [{group: ops, policies: [readwrite, deployer]}]
    default-policies: readonly
    allowed-domains: example.com
    redirect-url: https://rune.example.com/login/oidc/done
    title: Example
"""
TOGETHER = {
    *("auth.tls.enabled", "auth.tls.cert-file", "auth.tls.key-file", "auth.tls.client-ca-file"),
    *(path for path in SETTINGS if path.startswith("auth.oidc.")),
}
"""Settings that mean something together only."""


def nothing(tmp_path: Path) -> Path:
    """An empty Runefile."""
    file = tmp_path / "runefile.yaml"
    file.write_text("", encoding="utf-8")
    return file


def written(tmp_path: Path, text: str) -> Path:
    """A Runefile."""
    file = tmp_path / "runefile.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def value(settings: Settings, path: str) -> object:
    """What a setting came to be."""
    found: object = settings
    for part in path.split("."):
        found = getattr(found, part.replace("-", "_"))
    return found


def refused(file: Path, *, flags: dict[str, str] | None = None, **environ: str) -> str:
    """Everything that is wrong, a line each."""
    with pytest.raises(InvalidArgument) as failure:
        load(flags or {}, environ, file)
    return "\n".join(map(str, failure.value.details))


@promise("doors.grpc", "doors.rest")
def test_an_empty_runefile_is_enough(tmp_path: Path) -> None:
    settings = load({}, {"HOME": "/home/ann"}, nothing(tmp_path))
    assert settings.server.grpc_addr == Address("127.0.0.1", 7863)
    assert settings.server.http_addr == Address("127.0.0.1", 7861)
    assert settings.server.data_dir == Path("/home/ann/.local/share/rune")
    assert not settings.auth.allow_remote_admin


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "server:\n", "{}"])
def test_a_runefile_with_nothing_in_it_means_the_defaults(tmp_path: Path, text: str) -> None:
    assert load({}, {}, written(tmp_path, text)) == load({}, {}, nothing(tmp_path))


@pytest.mark.parametrize(
    "environ, is_root, folder",
    [
        ({"XDG_DATA_HOME": "/data"}, False, "/data/rune"),
        ({"XDG_DATA_HOME": "/data"}, True, "/var/lib/rune"),
        ({}, True, "/var/lib/rune"),
        ({"HOME": "/h", "XDG_DATA_HOME": ""}, False, "/h/.local/share/rune"),
        ({"HOME": "/h", "RUNE_SERVER_DATA_DIR": "/mine"}, True, "/mine"),
    ],
)
def test_things_are_kept_where_the_user_may_write(
    environ: dict[str, str], is_root: bool, folder: str
) -> None:
    assert load({}, environ, DEFAULT_FILE, is_root=is_root).server.data_dir == Path(folder)


def test_every_setting_has_an_example_here() -> None:
    assert set(EXAMPLES) | TOGETHER == set(SETTINGS)


def test_the_settings_of_oidc_are_given_together(tmp_path: Path) -> None:
    oidc = load({}, {}, written(tmp_path, OIDC)).auth.oidc
    assert (oidc.issuer, oidc.username_claim) == ("https://login.example.com/main", "email")
    assert [(each.group, each.policies) for each in oidc.groups] == [("ops", ("readwrite", "deployer"))]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("auth.oidc.client-id", "{client-id: rune}"),
        (
            "auth.oidc.issuer",
            "{issuer: 'http://login.example.com', client-id: r, default-policies: readonly}",
        ),
        ("auth.oidc.issuer", "{issuer: 'http://127.evil.com', client-id: r, default-policies: readonly}"),
        ("auth.oidc.client-id", "{issuer: 'https://l.example.com', default-policies: readonly}"),
        ("auth.oidc.groups", "{issuer: 'https://l.example.com', client-id: r}"),
        ("auth.oidc.scopes", "{issuer: 'https://l', client-id: r, default-policies: r, scopes: email}"),
        (
            "auth.oidc.redirect-url",
            "{issuer: 'https://l', client-id: r, default-policies: r, redirect-url: 'https://x/'}",
        ),
    ],
)
def test_a_provider_that_could_not_work_is_refused_at_the_start(tmp_path: Path, path: str, text: str) -> None:
    assert path in refused(written(tmp_path, f"auth: {{oidc: {text}}}\n"))


@pytest.mark.parametrize(
    "text", ["session-access-ttl: 1s", "session-refresh-ttl: 2d3", "session-grace-window: 1h"]
)
def test_a_session_that_lasts_too_short_or_too_long_is_refused(tmp_path: Path, text: str) -> None:
    assert f"auth.{text.partition(':')[0]}" in refused(written(tmp_path, f"auth: {{{text}}}\n"))


def test_the_settings_of_tls_are_given_together(tmp_path: Path) -> None:
    text = "auth: {tls: {enabled: true, cert-file: /c, key_file: /k, client-ca-file: /a}}"
    tls = load({}, {}, written(tmp_path, text)).auth.tls
    assert (tls.enabled, tls.cert_file, tls.key_file, tls.client_ca_file) == (True, "/c", "/k", "/a")


@pytest.mark.parametrize("path", EXAMPLES)
def test_a_setting_means_the_same_in_file_environment_and_flag(tmp_path: Path, path: str) -> None:
    text = EXAMPLES[path]
    *sections, name = path.split(".")
    indented = "".join(f"{'  ' * depth}{each}:\n" for depth, each in enumerate(sections))
    file = written(tmp_path, f"{indented}{'  ' * len(sections)}{name}: '{text}'\n")
    by_file = load({}, {}, file)
    by_environ = load({}, {SETTINGS[path].variable: text}, nothing(tmp_path))
    by_flag = load({path: text}, {}, nothing(tmp_path))
    assert by_file == by_environ == by_flag
    if path != "auth.enabled":
        assert value(by_file, path) != SETTINGS[path].default


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    file = written(tmp_path, "storage: {history: 200}\nlimits: {calls-per-minute: 5}\n")
    environ = {"RUNE_STORAGE_HISTORY": "300", "RUNE_LIMITS_CALLS_PER_MINUTE": "6"}
    settings = load({"storage.history": "400"}, environ, file)
    assert (settings.storage.history, settings.limits.calls_per_minute) == (400, 6)
    assert load({}, {}, file).limits.calls_per_minute == 5


def test_names_may_have_hyphens_or_underscores(tmp_path: Path) -> None:
    text = "auth: {allow_remote_admin: true}\nserver: {log_level: debug}\n"
    settings = load({}, {}, written(tmp_path, text))
    assert (settings.auth.allow_remote_admin, settings.server.log_level) == (True, "debug")


def test_everything_that_is_wrong_is_said_at_once_with_its_place(tmp_path: Path) -> None:
    file = written(
        tmp_path, "server:\n  grpc-adr: ':1'\n  log-level: inf\nstorge: {}\nstorage:\n  history: many\n"
    )
    words = refused(file, RUNE_SERVER_HTP_ADDR="x", RUNE_LIMITS_CALLS_PER_MINUTE="-1")
    for line in (
        f"server.grpc-adr: is unknown; did you mean server.grpc-addr? (line 2, column 3 of {file})",
        "server.log-level: takes debug, info, warning, error, not 'inf'; did you mean info? (line 3",
        "storge: is unknown; did you mean storage? (line 4, column 1",
        "storage.history: takes a whole number, not 'many' (line 6, column 12",
        "RUNE_SERVER_HTP_ADDR: is unknown; did you mean RUNE_SERVER_HTTP_ADDR?",
        "limits.calls-per-minute: takes a whole number >= 0, not '-1' (environment variable RUNE_LIMITS",
    ):
        assert line in words


@pytest.mark.parametrize("path", SUPPORTED_LATER)
def test_what_nothing_reads_yet_is_refused_by_name(tmp_path: Path, path: str) -> None:
    *sections, name = path.split(".")
    text = "".join(f"{each}: {{" for each in sections) + f"{name}: {{a: b}}" + "}" * len(sections)
    words = refused(written(tmp_path, text))
    assert words.startswith(f"{path}: is not supported in this release: {SUPPORTED_LATER[path]}")


@pytest.mark.parametrize(
    "text, words",
    [
        ("auth: {enabled: false}", "callers always show a token"),
        ("auth: {tls: {enabled: true}}", "auth.tls.cert-file: must name a file when auth.tls.enabled"),
        (
            "auth: {tls: {cert-file: /x}}",
            "auth.tls.cert-file: has no effect without auth.tls.enabled: set that to true too (line 1",
        ),
        ("server: {grpc-addr: ':7861', http-addr: ':7861'}", "is the address of gRPC already"),
        ("server: {data-dir: ~/rune}", "`~` is the shell's word"),
        ("server: {data-dir: ''}", "takes the path of a folder"),
        ("server: {data-dir:}", "has no value: give it one or leave it out"),
        ("server: {log-level: info, log-level: debug}", "server.log-level: is there twice"),
        ("server: {log-level: info, log_level: debug}", "server.log-level: is there twice"),
        ("server: [1]", "server is a section: names with values"),
        ("- 1", "the Runefile is a section"),
        ("server: {reflection: [true]}", "takes one value, not a list or a section"),
        ("server: {reflection: perhaps}", "takes true or false, not 'perhaps'"),
        ("server: {grpc-addr: '::1:80'}", "takes an IPv6 address in brackets"),
        ("server: {grpc-addr: '7863'}", "takes host:port"),
        ("server: {grpc-addr: ':70000'}", "takes host:port"),
        ("server: {grpc-addr: 'a b:1'}", "takes host:port"),
        ("server: {[1]: 2}", "server.?: is unknown"),
        ("server: {", "is not YAML"),
        ("\0", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("server: !!python/object:os.system {}\n", "server"),
    ],
)
def test_a_runefile_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    if text.startswith("server: !!"):
        load({}, {}, written(tmp_path, text))  # an unknown tag builds nothing, whatever it names
        return
    assert words in refused(written(tmp_path, text))


def test_a_runefile_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert "does not exist (--config)" in refused(tmp_path / "none.yaml")
    assert "cannot be read" in refused(tmp_path)
    assert load({}, {}, DEFAULT_FILE).storage.history == 10_000 or DEFAULT_FILE.exists()


def test_a_runefile_has_a_size_that_people_write(tmp_path: Path) -> None:
    assert "more than" in refused(written(tmp_path, "#" * (LARGEST + 1)))


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    environ = {"RUNE_TOKEN": "x", "RUNE_CONTEXT": "y", "PATH": "z"}
    assert load({}, environ, nothing(tmp_path)) == load({}, {}, nothing(tmp_path))


def test_a_flag_that_names_no_setting_is_refused(tmp_path: Path) -> None:
    assert "flag --grpc-adr" in refused(nothing(tmp_path), flags={"server.grpc-adr": ":1"})


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=30), max_size=6))
def test_no_environment_gives_anything_but_settings_or_a_refusal(environ: dict[str, str]) -> None:
    try:
        settings = load({}, environ, DEFAULT_FILE)
    except InvalidArgument:
        return
    assert isinstance(settings.server.grpc_addr, Address)


@given(st.text(alphabet="server: {}[]\n-'\"!&*#|>?%@grpcadi0~", max_size=60))
def test_no_text_gives_anything_but_settings_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = written(tmp_path_factory.getbasetemp(), text)
    try:
        settings = load({}, {}, file)
    except InvalidArgument:
        return
    assert isinstance(settings.server.grpc_addr, Address)


@pytest.mark.parametrize(
    "argv, values, file",
    [
        ([], {}, DEFAULT_FILE),
        (["--config", "/x.yaml"], {}, Path("/x.yaml")),
        (["--debug", "--pretty"], {"server.log-level": "debug", "server.log-format": "text"}, DEFAULT_FILE),
        (
            ["--grpc-addr", ":0", "--http-addr=:0"],
            {"server.grpc-addr": ":0", "server.http-addr": ":0"},
            DEFAULT_FILE,
        ),
        (
            ["--data-dir", "/d", "--log-level", "error"],
            {"server.data-dir": "/d", "server.log-level": "error"},
            DEFAULT_FILE,
        ),
    ],
)
def test_flags_are_settings_of_the_server(argv: list[str], values: dict[str, str], file: Path) -> None:
    flags = parse(argv)
    assert (flags.values, flags.file) == (values, file)


@pytest.mark.parametrize("argv", [["--nope"], ["--grpc"], ["--grpc-addr"], ["extra"]])
def test_a_command_line_that_is_not_understood_ends_with_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(argv)
    assert end.value.code == 2
    assert "usage: runed" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("runed ")


def test_one_runner_must_be_on(tmp_path: Path) -> None:
    file = written(tmp_path, "runner:\n  process: {enabled: false}\n  docker: {enabled: 'false'}\n")
    assert "runner.process.enabled: every runner is switched off" in refused(file)


@pytest.mark.parametrize("socket", ["docker.sock", "tcp://127.0.0.1:2375", "unix://docker.sock"])
def test_the_engine_is_reached_by_a_socket_of_this_machine(tmp_path: Path, socket: str) -> None:
    file = written(tmp_path, f"runner: {{docker: {{socket: '{socket}'}}}}")
    assert "runner.docker.socket: takes the whole path of a socket" in refused(file)
