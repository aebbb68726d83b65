"""What runners refuse before they touch the machine."""

from __future__ import annotations

import msgspec
import pytest

from rune.errors import InvalidArgument
from rune.orchestrator.runners import checks
from rune.orchestrator.runners.base import Port, Workload

PLAIN = Workload(instance="a", command=["/bin/true"])


@pytest.mark.parametrize("ports", [(), []], ids=["a tuple", "a list"])
def test_a_process_may_say_that_it_has_nothing_of_a_container(ports: tuple[Port, ...]) -> None:
    assert checks.native(msgspec.structs.replace(PLAIN, ports=ports)).ports == ports


def test_a_process_that_was_written_down_and_read_again_is_taken() -> None:
    read = msgspec.json.decode(msgspec.json.encode(PLAIN), type=Workload)

    assert checks.native(read) is read


def test_what_only_a_container_can_have_is_refused_by_name() -> None:
    asked = msgspec.structs.replace(PLAIN, image="web:1", ports=[Port(port=80)])

    with pytest.raises(InvalidArgument) as refused:
        checks.native(asked)

    assert [detail.field for detail in refused.value.details] == ["image", "ports"]
