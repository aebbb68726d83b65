"""Whole commands against a real server: what they do, what they print, how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rune.api.orchestrator import services, specs
from unit.cli.terminal import Ran
from unit.client.plane import failing, pending, running
from unit.client.served import Served

Rune = Callable[..., Ran]
FILE = """
namespace: {name: prod}
configmap: {name: settings, data: {LOG: debug}}
services:
- {name: web, command: [sleep, '9'], scale: 2}
- {name: worker, command: [sleep, '9'], dependencies: [web]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "app.yaml"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def put(served: Served, name: str = "web", **more: object) -> None:
    service = services.Service(
        name=name,
        namespace="default",
        process=specs.ProcessSpec(command="sleep"),
        **more,  # pyright: ignore[reportArgumentType] - fields by name
    )
    served.loop.call_soon_threadsafe(lambda: served.plane.put(running(service)))


def test_cast_creates_what_a_file_declares_in_its_order_and_says_when_it_runs(
    rune: Rune, served: Served, file: str
) -> None:
    ran = rune("cast", file)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        'namespace "prod" created',
        'configmap "settings" created',
        "web: Running: 2/2",
        "worker: Running: 1/1",
    ]
    assert [what for what, _ in served.plane.asked[:2]] == ["namespace", "configmap"]


def test_cast_a_second_time_updates(rune: Rune, file: str) -> None:
    assert rune("cast", file).code == 0
    again = rune("apply", file, "--detach")
    assert 'service "web" updated' in again.out


def test_cast_fails_with_the_reason_when_a_service_does(rune: Rune, served: Served, file: str) -> None:
    served.plane.starts = failing
    ran = rune("cast", file)
    assert ran.code == 1
    assert "service 'web' failed: CrashLoop: exit code 127: no such file: /nope" in ran.err
    assert "next: rune logs we" in ran.err


def test_cast_gives_up_at_its_time_limit_with_exit_code_7(rune: Rune, served: Served, file: str) -> None:
    served.plane.starts = pending
    ran = rune("cast", file, "--timeout", "0.2")
    assert ran.code == 7
    assert "not running after 0.2 s: 2 of 2 services" in ran.err


def test_cast_sends_nothing_when_any_file_is_wrong(rune: Rune, served: Served, tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(FILE, encoding="utf-8")
    bad = tmp_path / "bad.yaml"
    bad.write_text("service: {name: x, replicas: 3}\n", encoding="utf-8")
    ran = rune("cast", str(file), str(bad))
    assert ran.code == 6
    assert f"{bad}:1:20: service \"x\": unknown key 'replicas'; did you mean 'scale'?" in ran.err
    assert not served.plane.asked


def test_what_the_server_finds_wrong_is_shown_at_its_place_in_the_file(rune: Rune, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("service:\n  name: odd\n  command: [x]\n  ports:\n  - port: 80\n", encoding="utf-8")
    ran = rune("cast", str(path))
    assert ran.code == 6
    assert f'{path}:5:11: service "odd": ports[0].port: is taken by runed itself' in ran.err


def test_a_dry_run_and_a_diff_change_nothing(rune: Rune, served: Served, file: str) -> None:
    put(served, "web", scale=1)
    dry = rune("cast", file, "--dry-run")
    assert [line.split() for line in dry.out.splitlines()[3:]] == [
        ["update", "service", "default", "web"],
        ["create", "service", "default", "worker"],
    ]
    diff = rune("cast", file, "--diff")
    assert "-scale: 1\n+scale: 2\n" in diff.out
    assert not [what for what, _ in served.plane.asked if what == "put"]


def test_json_of_one_thing_is_an_object_and_of_a_list_an_array(rune: Rune, served: Served) -> None:
    put(served, scale=1)
    assert json.loads(rune("get", "service", "web", "-o", "json").out)["name"] == "web"
    assert [item["name"] for item in json.loads(rune("get", "services", "-o", "json").out)] == ["web"]
    assert yaml.safe_load(rune("get", "svc", "web", "-o", "yaml").out)["status"] == "SERVICE_STATUS_RUNNING"
    assert json.loads(rune("get", "services", "-n", "empty", "-o", "json").out) == []


def test_a_table_has_headings_unless_told_otherwise(rune: Rune, served: Served) -> None:
    put(served, "b", scale=2)
    put(served, "a", scale=10)
    lines = rune("get", "services", "--sort-by", "instances").out.splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "STATUS", "INSTANCES", "EXTERNAL", "GENERATION", "AGE"]
    assert [line.split()[0] for line in lines[1:]] == ["b", "a"]
    assert rune("get", "services", "--no-headers", "-A").out.split()[:2] == ["default", "a"]


@pytest.mark.parametrize(
    "args, code, words",
    [
        (("get", "service", "ghost"), 4, "'ghost'"),
        (("get", "nonsense"), 2, "there is no type 'nonsense'"),
        (("gett",), 2, "Did you mean `rune get`?"),
        (("get", "services", "-l", "app"), 2, "is not like app=api"),
        (("get", "users", "ann", "--watch"), 2, "cannot be watched"),
        (("scale", "ghost", "3"), 4, "'ghost'"),
        (("scale", "web", "-3"), 2, "No such option"),
        (("cast", "/nope.yaml"), 6, "there is no file or folder"),
        (("delete", "web"), 1, "next: the same command with --yes"),
        (("logs", "x/y/z"), 2, "is neither NAME nor"),
        (("logs", "web", "--tail", "many"), 2, "takes a number"),
        (("exec", "web"), 2, "Missing argument"),
        (("cast", "x.yaml", "--timeout", "soon"), 2, "is no duration"),
    ],
)
def test_a_mistake_ends_with_its_code_and_says_what_to_do(
    rune: Rune, args: tuple[str, ...], *, code: int, words: str
) -> None:
    ran = rune(*args)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_a_wrong_token_ends_with_3_and_a_server_that_is_away_is_named(rune: Rune) -> None:
    assert rune("whoami", RUNE_TOKEN="wrong").code == 3
    away = rune("whoami", RUNE_SERVER="127.0.0.1:1")
    assert away.code == 1
    assert "cannot reach 127.0.0.1:1" in away.err


def test_logs_come_as_text_with_prefix_as_json_and_raw(rune: Rune, served: Served) -> None:
    put(served)
    assert rune("logs", "web").out.splitlines()[0] == "[api-instance-00000000] one"
    assert rune("logs", "web", "-o", "raw").out == "one\ntwo\nthree\n"
    first = json.loads(rune("logs", "web", "-o", "json", "-p", "x").out.splitlines()[0])
    assert (first["content"], first["timestamp"]) == ("one", "2026-01-02T03:04:05.000000Z")
    what, ask = served.plane.asked[-1]
    assert (what, getattr(ask, "filter", "")) == ("logs", "x")


def test_no_text_of_other_people_tells_the_terminal_anything(
    rune: Rune, served: Served, tmp_path: Path
) -> None:
    title = "\x1b]0;title\x07\x9b2J"
    served.plane.lines = [f"\x1b[31mred {title}"]
    put(served)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"service": {"name": title, "image": "x"}}))
    assert rune("logs", "web", "--no-prefix").out == "\x1b[31mred  ]0;title  2J\x1b[0m\n"
    told = (
        rune("logs", "web", "-o", "json"),
        rune("lint", str(tmp_path)),
        rune("cast", str(tmp_path)),
        rune("get", "service", title),
        rune("admin", "user", "create", "ann", "--email", title),
        rune("admin", "user", "create", "bob", "--email", title, "-o", "json"),
        rune("admin", "user", "create", "eve", "--email", title, "-o", "yaml"),
    )
    assert not [ran for ran in told if set(ran.out + ran.err) & set("\x1b\x07\x9b")]
    assert "]0;title" in told[4].out
    assert json.loads(told[5].out)["user"]["email"] == title


@pytest.mark.parametrize("code", [0, 1, 42, 137])
def test_exec_passes_the_exit_code_on(rune: Rune, code: int) -> None:
    assert rune("exec", "web", "exit", str(code)).code == code


def test_everything_after_the_target_belongs_to_the_command(rune: Rune, served: Served) -> None:
    ran = rune("exec", "--env", "A=b", "web", "ls", "-n", "--help")
    assert ran.out == "ls -n --help\n"
    assert ran.err == "warned\n"
    assert rune("exec", "web", "--", "ls", "-l").out == "ls -l\n"
    init = getattr(served.plane.asked[0][1], "init")  # noqa: B009 - of an ExecRequest
    assert (init.command, init.env, init.tty) == (["ls", "-n", "--help"], {"A": "b"}, False)


def test_scale_restart_and_stop_wait_until_it_is_so(rune: Rune, served: Served) -> None:
    put(served, scale=1)
    assert rune("scale", "web", "3").out == "service 'web' has a scale of 3 now\n"
    assert rune("restart", "web").out == "service 'web' restarted\n"
    assert "service 'web' is stopped" in rune("stop", "web").out


def test_delete_refuses_what_others_need_and_names_the_command_that_shows_them(
    rune: Rune, served: Served, file: str
) -> None:
    rune("cast", file)
    refused = rune("delete", "web", "--yes")
    assert refused.code == 5
    assert "next: rune deps dependents web" in refused.err
    assert rune("delete", "web", "--dry-run", "--no-dependencies").out == "service 'web' would be deleted\n"
    assert rune("delete", "-y", "service", "web", "--no-dependencies").out == "service 'web' deleted\n"


def test_a_derived_command_asks_for_its_operation(rune: Rune) -> None:
    made = rune("admin", "user", "create", "ann", "--policies", "readonly", "--email", "a@b.c", "-o", "json")
    assert json.loads(made.out)["user"] == {
        "id": "2", "kind": "", "name": "ann", "email": "a@b.c", "policies": ["readonly"], "revision": "0",
    }  # fmt: skip
    assert rune("admin", "user", "list").out.split() == [
        "ID",
        "KIND",
        "NAME",
        "POLICIES",
        "1",
        "user",
        "root",
        "root",
    ]
    assert rune("admin", "user", "create", "Not_A_Name").code == 6


def test_dependencies_are_shown_checked_and_asked_backwards(rune: Rune, file: str) -> None:
    rune("cast", file)
    assert rune("deps", "graph").out == "web\nworker → web\n"
    assert '"worker" -> "web";' in rune("deps", "graph", "--format", "dot").out
    assert rune("deps", "dependents", "web").out == "worker\n"
    assert rune("deps", "check", "worker").out.splitlines()[1].split() == ["web", "healthy", "ready"]
    assert rune("deps", "validate").out == "2 services: no circle, nothing missing\n"


def test_lint_ends_with_6_for_errors_and_0_for_a_good_file(rune: Rune, file: str, tmp_path: Path) -> None:
    assert rune("lint", file).code == 0
    bad = tmp_path / "bad.yml"
    bad.write_text("service: {name: a}\n", encoding="utf-8")
    found = json.loads(rune("lint", str(tmp_path), "-o", "json").out)
    assert (found["files"], found["errorCount"], found["findings"][0]["line"]) == (2, 1, 1)
    assert rune("lint", str(bad)).code == 6


def test_a_watch_shows_what_there_is_then_every_change(
    rune: Rune, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rune.client import watch  # noqa: PLC0415 - patched here alone

    monkeypatch.setattr(watch, "GIVE_UP_SECONDS", -1.0)
    put(served, "a", scale=1)
    served.plane.drop_after = 1
    served.loop.call_later(
        0.3, lambda: served.plane.put(failing(services.Service(name="b", namespace="default")))
    )
    ran = rune("get", "services", "--watch", "-o", "json")
    assert [json.loads(line)["object"]["name"] for line in ran.out.splitlines()] == ["a", "b"]
    assert "the connection broke" in ran.err
