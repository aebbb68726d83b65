"""Words of the wire as people say them, and hints that help with what failed."""

from __future__ import annotations

import pytest

from rune.api.orchestrator.instances import InstanceStatus
from rune.api.orchestrator.revisions import RevisionState
from rune.api.orchestrator.specs import ReadyWhen
from rune.cli.failures import explained
from rune.cli.output import word
from rune.errors import NotFound


def test_a_word_of_the_wire_loses_what_it_is_a_word_of() -> None:
    words = [word(each) for each in (InstanceStatus.RUNNING, RevisionState.CURRENT, ReadyWhen.HEALTHY)]
    assert words == ["Running", "Current", "Healthy"]


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("secret not found: default/db", "\nnext: rune get secrets -A shows what there is"),
        ("there is no service 'web' in namespace 'x'", "\nnext: rune get services -A shows what there is"),
        ("there is no agent 'nope'", "\nnext: rune agents list shows what there is"),
        ("there is no context 'nope' (there are none)", ""),
    ],
)
def test_who_misses_something_is_told_what_lists_it(message: str, hint: str) -> None:
    assert explained(NotFound(message)) == f"error: {message}{hint}"
