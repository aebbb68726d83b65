"""`rune cast` against a real runed: runesets, order, what happens twice, and what happens midway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from commands import rune
from promises import promise
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
RUNESET = Path(__file__).parents[2] / "examples/runeset"
PASSWORD = "hunter2-and-more"

FILES = """
service: {name: app, command: [sleep, '300'], dependencies: [db], envFrom: ['configmap:c']}
---
service: {name: db, command: [sleep, '300']}
---
configmap: {name: c, data: {A: one}}
secret: {name: s, data: {k: v}}
namespace: {name: other}
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    """A server of this test."""
    async with runed(tmp_path / "data") as found:
        yield found


@promise("cast.idempotent")
async def test_casting_the_same_again_changes_nothing(server: Runed) -> None:
    code, said = await rune(server, "cast", "-", "--detach", text=FILES)
    assert code == 0, said
    assert said.count("created") == 5
    code, said = await rune(server, "cast", "-", "--detach", text=FILES)
    assert code == 0, said
    assert said.count("unchanged") == 5, said
    code, said = await rune(server, "cast", "-", "--detach", text=FILES.replace("one", "two"))
    assert 'configmap "c" updated' in said
    assert said.count("unchanged") == 4, said


@promise("cast.order")
async def test_what_others_stand_on_is_sent_first(server: Runed) -> None:
    _, said = await rune(server, "cast", "-", "--detach", text=FILES)
    order = [line.split()[1].strip('"') for line in said.splitlines() if line.endswith("created")]
    assert order == ["other", "c", "s", "db", "app"], said


@promise("cast.partial")
async def test_a_cast_that_fails_midway_tells_how_far_it_got(server: Runed) -> None:
    files = FILES + "---\nconfigmap: {name: d, namespace: nowhere, data: {A: one}}\n"
    code, said = await rune(server, "cast", "-", "--detach", text=files)
    assert code == 5, said
    assert '<stdin>:10:12: configmap "d": ' in said, said
    assert 'done before: namespace "other" created, configmap "c" created' in said
    assert 'not sent: secret "s", service "db", service "app"' in said
    assert "cast again" in said
    code, said = await rune(server, "cast", "-", "--detach", "--create-namespace", text=files)
    assert code == 0, said
    assert 'configmap "c" unchanged' in said


async def test_a_runeset_is_cast_twice_under_two_names_and_its_password_is_never_shown(
    server: Runed, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    words = ["cast", str(RUNESET), "--set-file", f"db.password={secret}", "--set", "replicas=0", "--detach"]
    everything = ""
    for more in (["--release", "a"], ["--release", "b"], ["--release", "a"], ["--release", "a", "--diff"],
                 ["--render"], ["--dry-run"]):  # fmt: skip
        code, said = await rune(server, *words, *more)
        assert code == 0, said
        everything += said
    assert 'service "a-web" created' in everything
    assert 'service "b-web" created' in everything
    assert 'service "a-web" unchanged' in everything
    assert "DB_PASSWORD: ***" in everything
    assert PASSWORD not in everything
    code, said = await rune(server, "secret", "reveal", "a-web")
    assert PASSWORD in said, said


LEAKY = """
service:
  name: leaky
  scale: 0
  command: [sleep, {{ .Values.db.password | quote }}]
  env:
    URL: postgres://u:{{ .Values.db.password }}@h/db
    PLAIN: {{ .Values.greeting }}
"""


@promise("runesets.sealed")
async def test_a_diff_tells_that_a_sensitive_value_changed_and_neither_value(
    server: Runed, tmp_path: Path
) -> None:
    folder = tmp_path / "leaky"
    (folder / "templates").mkdir(parents=True)
    (folder / "runeset.yaml").write_bytes((RUNESET / "runeset.yaml").read_bytes())
    (folder / "values.yaml").write_text("greeting: hi\ndb: {user: u}\n")
    (folder / "templates/a.yaml.tmpl").write_text(LEAKY)
    await rune(server, "cast", str(folder), "--detach", "--set", f"db.password={PASSWORD}")
    code, said = await rune(
        server, "cast", str(folder), "--diff", "--set", "db.password=another-one", "--set", "greeting=ho"
    )
    assert code == 0, said
    assert "-  PLAIN: hi" in said, said
    assert "+  PLAIN: ho" in said, said
    assert "+  URL: '*** (changed)'" in said, said
    assert PASSWORD not in said
    assert "another-one" not in said
