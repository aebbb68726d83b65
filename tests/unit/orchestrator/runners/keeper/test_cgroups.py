"""Limits as the files of cgroups say them, in a tree of plain files that stands for the kernel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rune.orchestrator.runners.keeper import cgroups
from rune.orchestrator.runners.keeper.cgroups import Tree

ALL = {"cpu": 0.5, "cpu_request": 0.25, "memory": 64 << 20, "memory_request": 32 << 20, "processes": 20}


def unified(folder: Path) -> Tree:
    """Version 2, with everything handed on."""
    folder.mkdir()
    (folder / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return Tree(str(folder), {})


def written(folder: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(folder).iterdir()}


def test_version_two_has_every_limit_in_one_place(tmp_path: Path) -> None:
    tree = unified(tmp_path / "rune")
    own, joins = tree.place("a:0", ALL, sandboxed=False)
    assert (tree.controllers, joins) == (["cpu", "memory", "pids"], [])
    assert written(own) == {
        "cpu.max": "50000 100000",
        "cpu.weight": "25",
        "memory.max": str(64 << 20),
        "memory.low": str(32 << 20),
        "pids.max": "20",
    }


def test_version_one_is_joined_for_what_is_limited_and_nothing_else(tmp_path: Path) -> None:
    old = {name: str(tmp_path / name) for name in ("cpu", "memory", "pids")}
    for folder in old.values():
        Path(folder).mkdir()
    tree = Tree("", old)
    assert tree.place("a:0", {}, sandboxed=False) == ("", [])
    _, joins = tree.place("a:1", {"cpu": 2.0, "processes": 5}, sandboxed=True)
    assert {Path(path).parent.name for path in joins} == {"cpu", "pids"}
    assert written(f"{old['cpu']}/a:1") == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "200000"}
    assert written(f"{old['pids']}/a:1") == {"pids.max": "6"}
    _, joins = tree.place("a:2", {"memory": 4096, "memory_request": 1024}, sandboxed=False)
    assert written(joins[0]) == {"memory.limit_in_bytes": "4096", "memory.soft_limit_in_bytes": "1024"}


def test_a_limit_that_cannot_be_set_lets_nothing_run(tmp_path: Path) -> None:
    for tree in (Tree("", {}), Tree(str(tmp_path), {})):
        with pytest.raises(OSError, match="cgroup controller cpu"):
            tree.place("a:0", ALL, sandboxed=False)


@pytest.mark.parametrize(
    "cores, text",
    [(0.001, "1000 1000000"), (0.01, "1000 100000"), (0.5, "50000 100000"), (3, "300000 100000")],
)
def test_a_share_of_a_core_is_never_less_than_the_kernel_takes(
    tmp_path: Path, cores: float, text: str
) -> None:
    own, _ = unified(tmp_path / "rune").place("a:0", {"cpu": cores}, sandboxed=False)
    assert (Path(own) / "cpu.max").read_text() == text


@pytest.mark.parametrize(
    "files, used",
    [
        ({"memory.current": "1000\n", "memory.stat": "anon 1\ninactive_file 400\n"}, 600),
        ({"memory.usage_in_bytes": "1000\n", "memory.stat": "total_inactive_file 100\n"}, 900),
    ],
)
def test_memory_that_is_merely_cached_does_not_count(
    tmp_path: Path, files: dict[str, str], used: int
) -> None:
    for name, text in {**files, "cpu.stat": "usage_usec 1500000\nuser_usec 1\n"}.items():
        (tmp_path / name).write_text(text)
    said: dict[str, Any] = cgroups.usage(str(tmp_path), [])
    assert said == {"cpu_seconds": 1.5, "memory": used}


@pytest.mark.parametrize(
    "name, text, killed",
    [
        ("memory.events", "oom 1\noom_kill 1\n", True),
        ("memory.events", "oom 1\noom_kill 0\n", False),
        ("memory.oom_control", "under_oom 0\noom_kill 2\n", True),
        ("other", "", False),
    ],
)
def test_a_kill_for_want_of_memory_is_seen_in_both_versions(
    tmp_path: Path, name: str, text: str, *, killed: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert cgroups.out_of_memory(["", str(tmp_path)]) is killed
