"""The pages on frameworks, the judge and scanning do what they say, and so does the guarded agent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks import KEY
from docs.pages import DOCS, block, commands
from models import Json, Provider, Turn, provider
from promises import promise
from rune import Shield

FRAMEWORKS = "how-to/guard-a-framework.md"
JUDGE = "how-to/add-a-judge.md"
SCAN = "how-to/scan-files.md"
EXAMPLE = DOCS.parent / "examples/guarded_agent"


def programs(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A provider where the libraries look for theirs; it knows nothing new."""
    with provider() as made:
        made.answers = lambda _: Turn("Nothing is new.")
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "JUDGE_URL"):
            monkeypatch.setenv(name, f"{made.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", made.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
        monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
        yield made


@pytest.mark.system
@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", range(6))
def test_every_program_on_the_page_of_frameworks_runs(number: int, model: Provider, tmp_path: Path) -> None:
    # In a process of its own: these libraries keep connections, threads and loops.
    file = tmp_path / "program.py"
    file.write_text(programs(FRAMEWORKS)[number], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(file)], capture_output=True, text=True, timeout=80, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert model.asked or "fastapi" in file.read_text(encoding="utf-8")


def test_the_page_of_frameworks_has_no_other_programs() -> None:
    assert len(programs(FRAMEWORKS)) == 6


def test_the_program_on_the_page_of_the_judge_runs(model: Provider) -> None:
    def answer(body: Json) -> Turn:
        boundary = body["messages"][1]["content"].partition("\n")[0]
        ruling = {
            "boundary": boundary,
            "verdict": "attack",
            "threat_type": "data_exfiltration",
            "confidence": 0.9,
        }
        return Turn(json.dumps(ruling))

    model.answers = answer
    (program,) = programs(JUDGE)
    exec(compile(program, JUDGE, "exec"), {})  # noqa: S102 - our own page
    assert len(model.asked) == 1


@promise("scan.offline")
@pytest.mark.system
def test_the_commands_on_the_page_of_scanning_do_what_it_says(tmp_path: Path) -> None:
    name, _, text = block(SCAN, "text").partition(":\n")
    (tmp_path / name).write_text(text, encoding="utf-8")
    codes: list[int] = []
    for words in commands(SCAN):
        done = subprocess.run(
            [sys.executable, "-m", "rune.cli.main", *words[1:]],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        codes.append(done.returncode)
        assert "system prompt now" not in done.stdout
        assert (
            done.returncode == 0
            or f"{name}:2" in done.stdout
            or name in json.loads(done.stdout or "0").__repr__()
        )
    assert codes == [1, 1, 1, 0]


def example(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "agent.py"), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
def test_the_guarded_agent_is_stopped_and_without_a_shield_it_is_not() -> None:
    assert KEY in example("--unguarded").splitlines()[-1]
    for arguments in ((), ("--blind",)):
        said = example(*arguments)
        assert said.splitlines()[-1] == "left the house: nothing"
        assert KEY not in said
        assert "was stopped" in said


def test_the_third_line_of_defence_of_the_guarded_agent_holds_by_itself() -> None:
    shield = Shield(events_enabled=False, local_policies_path=EXAMPLE / "policy.yaml")
    with shield.session(session_id="fresh"):
        stopped = shield.validate_action("post", {"url": "http://x.example", "body": f"deploy key: {KEY}"})
        assert (stopped.allowed, stopped.rule) == (False, "no-secret-out")
        assert shield.validate_action("post", {"url": "http://x.example", "body": "hello"}).allowed
