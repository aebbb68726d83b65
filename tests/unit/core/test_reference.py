"""The page about the Runefile says what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from rune.core.reference import PLACE, main, render
from rune.core.settings import SETTINGS

ROOT = Path(__file__).parents[3]


def test_the_page_is_as_it_would_be_written_now() -> None:
    assert (ROOT / PLACE).read_text(encoding="utf-8") == render(), "python -m rune.core.reference writes it"


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_says_its_unit_and_its_reason(path: str) -> None:
    _, _, after = render().partition(f"### `{path}`\n\n")
    words = after.partition("\n\n")[0]
    assert words.endswith(".")
    assert len(words) > 20


def test_the_page_is_written_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
