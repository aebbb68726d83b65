"""Archives of runesets: the same bytes for the same files, and nothing that escapes or explodes."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.errors import InvalidArgument
from rune.manifest.runesets import archive
from rune.manifest.runesets.archive import Unsafe, from_folder, from_tar, pack, unpack

paths = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.yaml", fullmatch=True)


def tar(*entries: tarfile.TarInfo, content: bytes = b"") -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            file.addfile(entry, io.BytesIO(content))
    return plain.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


@promise("runesets.archives")
@given(st.dictionaries(paths, st.binary(max_size=200), min_size=1, max_size=6))
def test_what_is_packed_comes_out_again(files: Mapping[str, bytes]) -> None:
    files = {"runeset.yaml": b"", **files}
    packed = pack(files)
    assert unpack(packed, name="a") == files
    assert pack(dict(reversed(files.items()))) == packed
    assert gzip.decompress(packed)


def test_an_archive_has_one_checksum_on_every_machine() -> None:
    packed = pack({"runeset.yaml": b"name: web\n", "templates/a.yaml.tmpl": b"x" * 70_000})
    assert (
        archive.checksum(packed) == "sha256:48ec1b8898bc7cc0c89164ffab13b67c5740e681dcac9bd9171d79d4c2fd36ac"
    )


@promise("runesets.escape")
@pytest.mark.parametrize(
    "bad",
    [
        entry("../evil"),
        entry("a/../../evil"),
        entry("/etc/passwd"),
        entry("a\\..\\evil"),
        entry("a\x1b[31m"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("link", tarfile.SYMTYPE, "runeset.yaml"),
        entry("link", tarfile.LNKTYPE, "runeset.yaml"),
        entry("dev", tarfile.CHRTYPE),
        entry("dev", tarfile.BLKTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        entry("a" * 201),
    ],
    ids=lambda bad: f"{bad.name[:20]!r}-{bad.type!r}",
)
def test_what_leaves_its_folder_or_is_no_file_is_refused(bad: tarfile.TarInfo) -> None:
    with pytest.raises(Unsafe, match="evil|passwd|link|dev|pipe|x1b|characters"):
        unpack(gzip.compress(tar(entry("runeset.yaml"), bad)), name="a.tgz")


@promise("runesets.bombs")
def test_what_explodes_is_refused_before_it_does() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(Unsafe, match="becomes more than"):
        unpack(bomb, name="a.tgz")
    with pytest.raises(Unsafe, match="is larger than 16 MiB"):
        unpack(b"x" * (archive.MOST_ARCHIVE + 1), name="a.tgz")
    with pytest.raises(Unsafe, match="is larger than 4 MiB"):
        from_tar(tar(entry("big"), content=b"x" * (archive.MOST_FILE + 1)), name="a.tar")
    with pytest.raises(Unsafe, match="more than 1000 entries"):
        from_tar(tar(*(entry(f"f{number}") for number in range(1001))), name="a.tar")
    with pytest.raises(Unsafe, match="twice"):
        from_tar(tar(entry("a"), entry("./a")), name="a.tar")


def test_one_folder_around_everything_is_taken_off() -> None:
    found = from_tar(tar(entry("web-1.0", tarfile.DIRTYPE), entry("web-1.0/runeset.yaml")), name="a.tar")
    assert found == {"runeset.yaml": b""}


def test_what_is_cut_off_or_no_archive_is_refused() -> None:
    packed = pack({"runeset.yaml": os.urandom(5000)})
    for bad in (packed[:100], packed[:-4], b"", b"text", gzip.compress(b"not a tar" * 100)):
        with pytest.raises(InvalidArgument):
            unpack(bad, name="a.tgz")


@given(st.binary(max_size=300))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    for bad in (data, gzip.compress(data)):
        try:
            assert isinstance(unpack(bad, name="a.tgz"), dict)
        except InvalidArgument as error:
            assert error.message


@given(st.binary(max_size=8), st.integers(0, 1023))
def test_a_spoiled_header_is_read_or_refused(noise: bytes, at: int) -> None:
    plain = tar(entry("runeset.yaml"), entry("templates/a"), content=b"abc")
    spoiled = plain[:at] + noise + plain[at + len(noise) :]
    try:
        found = from_tar(spoiled, name="a.tar")
    except InvalidArgument:
        return
    assert not [name for name in found if name.startswith("/") or ".." in name.split("/")]


def test_a_folder_is_read_without_what_is_hidden_and_refused_with_links(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("secret")
    (tmp_path / "runeset.yaml").write_text("name: web")
    (tmp_path / "old.runeset.tgz").write_bytes(b"x")
    (tmp_path / "templates/a.yaml.tmpl").write_text("a")
    assert set(from_folder(tmp_path)) == {"runeset.yaml", "templates/a.yaml.tmpl"}
    (tmp_path / "templates/link").symlink_to("/etc/passwd")
    with pytest.raises(Unsafe, match="is a link"):
        from_folder(tmp_path)


def test_tar_and_gzip_of_the_system_read_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(pack({"runeset.yaml": b"x" * 100_000, "templates/ä.yaml": b"y"}))
    listed = subprocess.run(
        ["tar", "tzf", "a.tgz"], cwd=tmp_path, capture_output=True, check=True, timeout=10
    )
    assert len(listed.stdout.splitlines()) == 2
