"""Where runesets come from: addresses that lead astray, endless servers, repositories that mean harm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from promises import promise
from rune.cli.download import Refused, download, shown
from rune.cli.git import GitFailed, files_of_git, parsed
from rune.cli.sources import OtherChecksum, files_of
from rune.errors import DeadlineExceeded, InvalidArgument, NotFound, RuneError, Unavailable
from rune.manifest.runesets import archive
from rune.manifest.runesets.archive import Unsafe

FILES = {"runeset.yaml": b"name: web\nversion: '1'\n", "templates/a.yaml.tmpl": b"a"}
PACKED = archive.pack(FILES)

Answer = Callable[[httpx.Request], httpx.Response]


def fetched(address: str, answer: Answer, *, now: Callable[[], float] = lambda: 0.0) -> bytes:
    client = httpx.Client(transport=httpx.MockTransport(answer))
    return download(address, client=client, clock=now, is_private=lambda host: host.endswith(".internal"))[0]


def to(address: str) -> Answer:
    """Sends everybody on, except for `/there`."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/there":
            return httpx.Response(200, content=iter([PACKED]))
        return httpx.Response(302, headers={"location": address})

    return answer


@promise("runesets.download")
def test_an_archive_comes_from_its_address_and_from_where_that_leads() -> None:
    assert fetched("https://a.example/there", to("")) == PACKED
    assert fetched("https://a.example/x", to("/there")) == PACKED
    assert fetched("https://a.example/x", to("https://b.example/there")) == PACKED
    assert fetched("https://a.internal/x", to("https://b.internal/there")) == PACKED


@promise("runesets.download")
@pytest.mark.parametrize(
    "start, target, words",
    [
        ("http://a.example/x", "", "are downloaded from https"),
        ("ftp://a.example/x", "", "are downloaded from https"),
        ("https://a.example/x", "http://a.example/there", "leads to what is not https"),
        ("https://a.example/x", "http://127.0.0.1/there", "leads to what is not https"),
        ("https://a.example/x", "file:///etc/passwd", "leads to what is not https"),
        ("https://a.example/x", "https://meta.internal/there", "is inside of a network"),
        ("https://a.example/x", "https://a.example/x", "leads on more than 5 times"),
    ],
)
def test_an_address_that_leads_astray_is_refused(start: str, target: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        fetched(start, to(target))


def endless(_request: httpx.Request) -> httpx.Response:
    def parts() -> Iterator[bytes]:
        while True:
            yield b"x" * (1 << 20)

    return httpx.Response(200, content=parts())


def test_a_download_that_never_ends_is_stopped_by_its_size_and_by_the_time() -> None:
    with pytest.raises(Refused, match="larger than 16 MiB"):
        fetched("https://a.example/x", endless)
    seconds = iter(range(0, 10_000, 25))
    with pytest.raises(DeadlineExceeded, match="takes longer than 60 s"):
        fetched("https://a.example/x", endless, now=lambda: float(next(seconds)))


def raises(error: Exception) -> Answer:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


def says(status: int) -> Answer:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status)

    return answer


@pytest.mark.parametrize(
    "answer, failure",
    [
        (says(404), NotFound),
        (says(500), Unavailable),
        (raises(httpx.ConnectError("no")), Unavailable),
        (raises(httpx.ReadTimeout("slow")), DeadlineExceeded),
    ],
)
def test_a_failed_download_says_so_without_what_is_secret_in_the_address(
    answer: Answer, failure: type[RuneError]
) -> None:
    with pytest.raises(failure) as caught:
        fetched("https://user:pass@a.example/x?token=t", answer)
    assert "https://a.example/x" in caught.value.message
    assert not [word for word in ("user", "pass", "token") if word in caught.value.message]
    assert shown("https://u:p@a.example:8443/x?t#f") == "https://a.example:8443/x"


@promise("runesets.checksum")
def test_another_checksum_is_refused_for_a_folder_and_for_its_archive(tmp_path: Path) -> None:
    folder, packed = tmp_path / "web", tmp_path / "web.runeset.tgz"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    packed.write_bytes(PACKED)
    right = archive.checksum(PACKED)
    for source in (folder, packed):
        assert files_of(str(source), checksum=right)[0] == FILES
        with pytest.raises(OtherChecksum, match=f"has the checksum {right}"):
            files_of(str(source), checksum="sha256:" + "0" * 64)
        with pytest.raises(InvalidArgument, match="is sha256: and 64"):
            files_of(str(source), checksum="sha256:12")


@pytest.mark.parametrize(
    "source, place",
    [
        ("git+https://h.example/o/r.git", ("https://h.example/o/r.git", "HEAD", "")),
        ("git+https://h.example/o/r.git@v1.2//a/b", ("https://h.example/o/r.git", "v1.2", "a/b")),
        ("git+ssh://git@h.example:22/o/r@feature/x", ("ssh://git@h.example:22/o/r", "feature/x", "")),
        ("git+file:///srv/r//web/", ("file:///srv/r", "HEAD", "web")),
    ],
)
def test_a_git_address_names_repository_reference_and_folder(
    source: str, place: tuple[str, str, str]
) -> None:
    found = parsed(source)
    assert (found.repository, found.ref, found.path) == place


@pytest.mark.parametrize(
    "source",
    ["git+ext::sh -c id", "git+http://h/r", "git+https://h", "git+https://h/r@--upload-pack=x", "git+https://h/r@a..b",
     "git+https://h/r//../x", "git+https://h/r//-x", "git+git://h/r", "git+https://h/r@$(id)"],
)  # fmt: skip
def test_a_git_address_that_could_do_something_else_is_refused(source: str) -> None:
    with pytest.raises(InvalidArgument):
        parsed(source)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With the runeset in the folder web, tagged v1; the branch main has gone on."""
    folder = tmp_path / "repository"
    for name, data in FILES.items():
        (folder / "web" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "web" / name).write_bytes(data)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    (folder / "web/values.yaml").write_text("a: 1")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "two")
    return folder


def git(folder: Path, *words: str) -> None:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    who = {
        f"GIT_{role}_{what}": "t@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {**kept, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, timeout=20)


@promise("runesets.git")
@pytest.mark.requires("git")
def test_a_runeset_comes_from_a_reference_of_a_repository(repository: Path) -> None:
    address = f"git+file://{repository}"
    assert files_of_git(f"{address}@v1//web") == (FILES, f"{address}@v1//web")
    assert set(files_of_git(f"{address}//web")[0]) == {*FILES, "values.yaml"}
    assert files_of(f"{address}@v1//web", checksum=archive.checksum(PACKED))[0] == FILES
    with pytest.raises(NotFound):
        files_of_git(f"{address}@v9//web")
    with pytest.raises(NotFound):
        files_of_git(f"{address}@v1//nowhere")
    with pytest.raises(GitFailed):
        files_of_git("git+file:///nowhere/at/all")


@promise("runesets.git")
@pytest.mark.requires("git")
def test_links_and_hooks_of_a_repository_have_no_say(repository: Path) -> None:
    (repository / "web/link").symlink_to("/etc/passwd")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "three")
    with pytest.raises(Unsafe, match="is a link"):
        files_of_git(f"git+file://{repository}//web")
