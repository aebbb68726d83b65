"""The help of every command is what the golden file says: a change of it is a change that users see.

Write the file anew with `python -m rune.cli.reference tests/surface/cli/help.txt --text`.
"""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from promises import promise
from rune.api import OPERATIONS
from rune.cli.reference import commands, markdown, text

pytestmark = promise("cli.table")

ROOT = Path(__file__).parents[3]
ALL = dict(commands())


def test_the_help_of_every_command_is_the_golden_one() -> None:
    golden = Path(__file__).with_name("help.txt").read_text(encoding="utf-8")
    assert text() == golden


def test_the_reference_page_is_fresh() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert markdown() == page, "run `python -m rune.cli.reference docs/reference/cli.md`"


def test_every_operation_with_a_command_has_it() -> None:
    for row in OPERATIONS:
        words = [word for word in row.cli.split() if not word.startswith("{")]
        assert not words or " ".join(["rune", *words]) in ALL


@pytest.mark.parametrize(
    "name", sorted(name for name, command in ALL.items() if not isinstance(command, click.Group))
)
def test_every_command_says_what_it_does_and_shows_an_example(name: str) -> None:
    command = ALL[name]
    assert command.help
    assert command.epilog
    assert command.epilog.startswith("Example")
