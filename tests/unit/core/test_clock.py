"""The clock that tests move, and the one that moves by itself."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import UTC, timedelta

import pytest

from rune.core.clock import EPOCH, Clock, ManualClock, SystemClock


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_a_clock_knows_the_time_in_utc_and_makes_ids_and_chances(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
    first, second = uuid.UUID(clock.new_id()), uuid.UUID(clock.new_id())
    assert first != second
    assert (first.version, second.version) == (4, 4)
    assert all(0 <= clock.random() < 1 for _ in range(100))


def test_a_manual_clock_moves_only_when_it_is_told_to() -> None:
    clock = ManualClock()
    assert (clock.now(), clock.monotonic()) == (EPOCH, 0)
    clock.advance(1.5)
    assert (clock.now(), clock.monotonic()) == (EPOCH + timedelta(seconds=1.5), 1.5)


def test_a_manual_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="forward only"):
        ManualClock().advance(-1)


def test_ids_and_chances_repeat_for_a_seed() -> None:
    one, same, other = ManualClock(seed=1), ManualClock(seed=1), ManualClock(seed=2)
    assert (one.new_id(), one.random()) == (same.new_id(), same.random())
    assert one.new_id() != other.new_id()


def test_ids_of_the_machine_are_uuids_and_a_forked_process_has_others() -> None:
    clock = SystemClock()
    ids = {clock.new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert {(uuid.UUID(each).version, str(uuid.UUID(each)) == each) for each in ids} == {(4, True)}
    script = (
        "import os; from rune.core.clock import SystemClock; c = SystemClock(); r, w = os.pipe(); "
        "pid = os.fork(); os.write(w, c.new_id().encode()); pid or os._exit(0); "
        "os.waitpid(pid, 0); print(os.read(r, 200).decode())"
    )
    both = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert both[:36] != both[36:72]
