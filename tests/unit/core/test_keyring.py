"""The key of keys: found, made once, shut to others, and never in a message."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from rune.core import keyring
from rune.core.keyring import SIZE, FileKeyring, Key
from rune.core.runefile import Kek
from rune.errors import FailedPrecondition

ONE = base64.b64encode(bytes(range(32))).decode()
TWO = base64.b64encode(bytes(range(1, 33))).decode()


def from_file(
    path: Path, text: str, *, mode: int = 0o600, is_new: bool = False, makes: bool = False
) -> keyring.Keyring:
    if text:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
    kek = Kek(source="file", file_path=str(path), generate_if_missing=makes)
    return keyring.find(kek, path.parent, {}, is_new=is_new)


def test_a_key_is_made_at_the_first_start_and_found_at_the_next(tmp_path: Path) -> None:
    first = keyring.find(Kek(), tmp_path, {}, is_new=True)
    again = keyring.find(Kek(), tmp_path, {}, is_new=False)
    assert [key.id for key in first.keys] == [key.id for key in again.keys]
    assert (tmp_path / "kek").stat().st_mode & 0o777 == 0o600


def test_a_lost_key_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"kek does not exist: secrets were sealed .*put it back"):
        keyring.find(Kek(), tmp_path, {}, is_new=False)
    assert not list(tmp_path.iterdir())


def test_a_file_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="crypto.kek.generate-if-missing"):
        from_file(tmp_path / "key", "", is_new=True)
    assert len(from_file(tmp_path / "key", "", is_new=True, makes=True).keys) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(FailedPrecondition, match="is open to others .*chmod 600"):
        from_file(tmp_path / "key", ONE, mode=mode)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("c2hvcnQ=", "has 5 bytes, not 32"),
        ("hunter2!", "is not base64"),
        ("# nothing\n", "has no key"),
        (f"{ONE}\n" * 65, "64 are the most"),
    ],
)
def test_a_key_that_is_none_is_refused_and_not_quoted(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(FailedPrecondition, match=why) as caught:
        from_file(tmp_path / "key", text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_several_keys_are_several_lines_or_commas() -> None:
    assert [key.id for key in keyring.parse(f"# first\n{ONE}\n\n{TWO}\n", "x")] == [
        key.id for key in keyring.parse(f"{ONE},{TWO}", "x")
    ]


def test_the_environment_is_changed_by_its_owner_alone() -> None:
    kek = Kek(source="env", env_var="KEK")
    found = keyring.find(kek, Path("/nowhere"), {"KEK": ONE}, is_new=False)
    with pytest.raises(FailedPrecondition, match="set it to NEW,OLD"):
        found.extend()
    found.shorten()
    with pytest.raises(FailedPrecondition, match="KEK is empty"):
        keyring.find(kek, Path("/nowhere"), {}, is_new=True)


def test_a_file_has_both_keys_before_the_new_one_is_used(tmp_path: Path) -> None:
    ring = from_file(tmp_path / "key", ONE)
    old = ring.keys[0]
    ring.extend()
    assert [key.id for key in from_file(tmp_path / "key", "").keys] == [key.id for key in ring.keys]
    assert ring.keys[1].id == old.id
    ring.shorten()
    assert [key.id for key in from_file(tmp_path / "key", "").keys] == [ring.keys[0].id]


def test_a_file_that_cannot_be_written_keeps_the_old_key(tmp_path: Path) -> None:
    ring = FileKeyring(tmp_path / "gone" / "key", [Key(os.urandom(SIZE))], entropy=os.urandom)
    with pytest.raises(FailedPrecondition, match="write a new key in front of the old one"):
        ring.extend()
    assert len(ring.keys) == 1


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "key"
    real.write_text(ONE, encoding="utf-8")
    real.chmod(0o600)
    link.symlink_to(real)
    from_file(link, "").extend()
    assert link.is_symlink()
    assert len(from_file(real, "").keys) == 2


def test_a_key_does_not_print() -> None:
    key = Key(bytes(range(32)))
    assert "***" in repr(key)
    assert ONE not in f"{key!r}{key}"
