"""One disturbance of each kind, on a real runed with processes and containers; benchmarks/chaos.py has 24."""

from __future__ import annotations

from pathlib import Path

import pytest

import chaos
from engines import Engine
from promises import promise

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
SEED = 7


@promise("work.chaos")
@pytest.mark.requires("docker")
async def test_whatever_is_killed_filled_or_skewed_everything_is_as_wanted_again(
    own_engine: Engine, tmp_path: Path
) -> None:
    done: list[chaos.Round] = []
    count = len(chaos.Kind)
    print("seed", SEED)  # noqa: T201 - what a failure shows
    left_out = await chaos.played(tmp_path, engine=own_engine, seed=SEED, count=count, tell=done.append)
    if left_out:
        pytest.skip(f"all but a full disk: {left_out}")
    assert {one.kind for one in done} == set(chaos.Kind)


@promise("work.chaos")
async def test_without_an_engine_and_a_disk_of_its_own_the_rest_holds_as_well(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    async with chaos.stage(tmp_path, engine=None, seed=SEED) as stage:
        kinds = stage.rounds(3)
        assert sorted(kinds) == sorted([chaos.Kind.INSTANCES, chaos.Kind.RUNED, chaos.Kind.PROBE])
        for kind in kinds:
            assert (await stage.play(kind)).acknowledged > 0
