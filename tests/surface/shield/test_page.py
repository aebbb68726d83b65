"""The page about guarding an agent runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promises import promise

pytestmark = promise("shield.page")

PAGE = (Path(__file__).parents[3] / "docs/how-to/guard-an-agent.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_on_the_page_runs(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "guard-an-agent.md", "exec"), {})  # noqa: S102 - our own page


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == 6
