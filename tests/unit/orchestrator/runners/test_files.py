"""Mounted files: whole at any moment, shut to others, and never outside of their folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Files
from rune.orchestrator.runners.files import Owner, Shelf, place

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
HERE = Owner()
SOMEBODY = Owner(65534, 65534)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "mounts" / "here")


def db(content: dict[str, bytes], *, is_secret: bool = True) -> list[Files]:
    return [Files(target="db", content=content, is_secret=is_secret)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_key_is_a_file_below_its_target(shelf: Shelf) -> None:
    laid = shelf.lay("i", db({"password": b"x", "tls/key": b"y"}), HERE)
    home = shelf.folder("i")
    assert laid == {"db": home / "db"}
    assert (home / "db/password").read_bytes() == b"x"
    assert (home / "db/tls/key").read_bytes() == b"y"


def test_only_the_owner_can_read(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"x", "tls/key": b"y"}), HERE)
    home = shelf.folder("i")
    assert mode(home / "db/password") == mode(home / "db/tls/key") == 0o400
    assert mode(home) == mode(home / "db") == mode(home / "db/tls") == 0o700
    shelf.lay("c", db({"a": b"1"}, is_secret=False), HERE)
    assert mode(shelf.folder("c") / "db/a") == 0o444


@ROOT
def test_files_of_somebody_else_are_theirs_and_their_folders_are_not(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"x"}), SOMEBODY)
    home = shelf.folder("i")
    file, folder = (home / "db/password").stat(), (home / "db").stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (65534, 65534, 0o400)
    assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (0, 65534, 0o750)


@ROOT
def test_what_a_container_sees_is_shut_to_the_host_above_it(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"x"}), Owner(is_contained=True))
    shelf.lay("n", db({"password": b"x"}), Owner(1000, 1000, is_contained=True))
    home = shelf.folder("i")
    assert mode(home) == 0o700
    assert mode(home / "db") == 0o755
    assert mode(home / "db/password") == 0o444
    numbered = (shelf.folder("n") / "db/password").stat()
    assert (numbered.st_uid, stat.S_IMODE(numbered.st_mode)) == (1000, 0o400)


def test_a_change_swaps_everything_in_one_step(shelf: Shelf) -> None:
    home = shelf.folder("i") / "db"
    shelf.lay("i", db({"password": b"old", "gone": b"x"}), HERE)
    before = (home / "..data").readlink().name
    with (home / "password").open("rb") as reader:
        shelf.lay("i", db({"password": b"new", "more": b"y"}), HERE)
        assert reader.read() == b"old"
    assert (home / "password").read_bytes() == b"new"
    assert (home / "more").read_bytes() == b"y"
    after = (home / "..data").readlink().name
    assert names(home) == sorted(["..data", after, "more", "password"])
    assert before != after


def test_what_is_as_it_should_be_stays(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"x"}), HERE)
    before = (shelf.folder("i") / "db/..data").readlink().name
    shelf.lay("i", db({"password": b"x"}), HERE)
    assert (shelf.folder("i") / "db/..data").readlink().name == before


def test_what_a_workload_wrote_into_its_file_is_put_right(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"x"}), HERE)
    file = shelf.folder("i") / "db/password"
    file.chmod(0o600)
    file.write_bytes(b"x" * 10_000)
    shelf.lay("i", db({"password": b"x"}), HERE)
    assert file.read_bytes() == b"x"


def test_what_a_crash_left_in_the_middle_is_cleared_away(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"old"}), HERE)
    home = shelf.folder("i") / "db"
    (home / "..0123456789abcdef").mkdir()
    (home / "..0123456789abcdef/password").write_bytes(b"half")
    (home / "..data.new").symlink_to("..0123456789abcdef")
    shelf.lay("i", db({"password": b"new"}), HERE)
    assert names(home) == sorted(["..data", (home / "..data").readlink().name, "password"])


def test_an_empty_secret_is_an_empty_folder(shelf: Shelf) -> None:
    laid = shelf.lay("i", db({}), HERE)
    assert [name for name in names(laid["db"]) if not name.startswith("..")] == []


def test_absolute_targets_lie_below_the_instance_too(shelf: Shelf) -> None:
    laid = shelf.lay("i", [Files(target="/etc/app", content={"a": b"1"})], Owner(is_contained=True))
    assert laid["/etc/app"] == shelf.folder("i") / "etc/app"


def test_removing_takes_everything_of_one_instance(shelf: Shelf) -> None:
    shelf.lay("i", db({"password": b"x"}), HERE)
    shelf.lay("j", db({"password": b"x"}), HERE)
    shelf.remove("i")
    shelf.remove("i")
    assert names(shelf.root) == ["j"]
    shelf.clear()
    assert not shelf.root.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FailedPrecondition, match="the mounted files cannot be written: .*file"):
        Shelf(tmp_path / "file" / "x").lay("i", db({"a": b"1"}), HERE)


def test_a_server_that_is_not_root_keeps_them_in_its_own_folder(tmp_path: Path) -> None:
    assert place(tmp_path, is_root=False) == tmp_path / "mounts"


@ROOT
def test_root_keeps_them_in_memory_apart_for_each_server(tmp_path: Path) -> None:
    one, other = place(tmp_path / "a", is_root=True), place(tmp_path / "b", is_root=True)
    assert one != other
    assert one == place(tmp_path / "a", is_root=True)
    assert one.parent.name == "rune" or one == tmp_path / "a" / "mounts"


def test_a_change_that_was_broken_off_behind_its_rename_is_taken_to_its_end(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.lay("i", db({"gone": b"old"}), HERE)
    with monkeypatch.context() as patch:
        patch.setattr("rune.orchestrator.runners.files._relink", full)
        with pytest.raises(FailedPrecondition, match="No space left on device"):
            shelf.lay("i", db({"more": b"new"}), HERE)
    shelf.lay("i", db({"more": b"new"}), HERE)
    home = shelf.folder("i") / "db"
    assert (home / "more").read_bytes() == b"new"
    assert names(home) == sorted(["..data", (home / "..data").readlink().name, "more"])


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")
