"""Undelivered batches on disk, whatever the disk and other processes do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from rune.shield.spool import ABANDONED, Spool

MANY = 1 << 20


def spool(folder: Path, *, at: int = 1_000_000, most: int = MANY) -> Spool:
    return Spool(str(folder), most, lambda: at)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            spool(tmp_path).save([b"{}"])
    assert files(tmp_path) == []


def test_drafts_of_processes_that_died_are_cleared_and_those_of_others_kept(tmp_path: Path) -> None:
    now = 10 * ABANDONED
    old, young = f".{now - ABANDONED - 1:015d}-1-a-0-1.jsonl", f".{now - 1:015d}-1-a-0-1.jsonl"
    for name in (old, young):
        (tmp_path / name).touch()
    spool(tmp_path, at=now).save([b"{}"])
    assert old not in files(tmp_path)
    assert young in files(tmp_path)


def test_a_batch_that_another_process_takes_meanwhile_costs_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = spool(tmp_path)
    ours.save([b"{}"])
    stat = Path.stat

    def taken(path: Path, **more: Any) -> Any:
        if path.suffix == ".jsonl":
            path.unlink(missing_ok=True)
        return stat(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", taken)
        assert ours.save([b"[]"]) == 0
    found = ours.oldest()
    assert found is not None
    assert found[1] == [b"[]"]


def test_processes_with_the_same_id_in_the_same_moment_keep_both_batches(tmp_path: Path) -> None:
    spool(tmp_path).save([b"1"])
    spool(tmp_path).save([b"2"])
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("call", ["read_bytes", "unlink"])
def test_a_batch_that_belongs_to_somebody_else_does_not_stand_before_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ours = spool(tmp_path)
    (tmp_path / "000000000000001-1-a-0-1.jsonl").write_bytes(b"theirs")
    ours.save([b"ours"])
    theirs = getattr(Path, call)

    def refused(path: Path, **more: Any) -> Any:
        if path.name.startswith("000000000000001"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return theirs(path, **more)

    monkeypatch.setattr(Path, call, refused)
    found = ours.oldest()
    assert found is not None
    if call == "unlink":
        ours.remove(found[0])
        found = ours.oldest()
    assert found is not None
    assert found[1] == [b"ours"]


def test_a_file_that_is_no_batch_of_ours_may_be_dropped_too(tmp_path: Path) -> None:
    (tmp_path / "0notes.jsonl").write_bytes(b"x" * 100)
    assert spool(tmp_path, most=50).save([b"{}"]) == 1
    assert len(files(tmp_path)) == 1
