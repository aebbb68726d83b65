"""Commands that pages tell people to type can be typed."""

from __future__ import annotations

import shlex

import click
import pytest

from rune.cli.app import Commands
from rune.cli.app import rune as root
from rune.dashboard import configs


@pytest.mark.parametrize("command", [noun.command for noun in configs.NOUNS])
def test_a_hint_is_a_command_that_the_shell_knows(command: str) -> None:
    words = shlex.split(command)
    group: click.Command | None = root
    while isinstance(group, (Commands, click.Group)):
        words = words[1:]
        group = group.get_command(click.Context(group), words[0])
    assert group is not None
    group.make_context(words[0], words[1:])
