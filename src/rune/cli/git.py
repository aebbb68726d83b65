"""A runeset from a git repository: `git+https://host/repo.git@ref//path`, by the git command.

Nothing is checked out: git hands over a tar archive of one folder, which is read like any other. So no hook,
filter, link or submodule of the repository has a say.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rune.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from rune.manifest.runesets.archive import MOST_TOTAL, Files, from_tar

SECONDS = 120.0
MOST_PACK = 256 << 20
"""The largest file that git may write; a shallow fetch is one."""
_SCHEMES = ("https://", "ssh://", "file://")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/ -]{0,199}")
_FORGET = "GIT_"
_SAID = 300


class GitFailed(FailedPrecondition):
    """The git command did not give what was asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a git address names."""

    repository: str
    ref: str
    path: str

    @property
    def shown(self) -> str:
        """The address without user and password."""
        plain = re.sub(r"//[^/@]*@", "//", self.repository)
        return f"git+{plain}@{self.ref}" + (f"//{self.path}" if self.path else "")


def parsed(source: str) -> Place:
    """The parts of a git address; the reference is HEAD where none is named."""
    address = source.removeprefix("git+")
    scheme = next((scheme for scheme in _SCHEMES if address.startswith(scheme)), None)
    if scheme is None:
        known = ", ".join(f"git+{scheme}" for scheme in _SCHEMES)
        raise InvalidArgument(f"a git address begins with one of {known}")
    rest, _, path = address.removeprefix(scheme).partition("//")
    host, slash, inside = rest.partition("/")
    inside, _, ref = inside.partition("@")
    if not slash or not inside:
        raise InvalidArgument("a git address is git+https://host/repository.git@ref//path")
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise InvalidArgument("the reference of a git address is a branch, a tag or a commit")
    if path and (not _PATH.fullmatch(path) or ".." in path.split("/")):
        raise InvalidArgument("the path of a git address stays inside of the repository")
    return Place(f"{scheme}{host}/{inside}", ref or "HEAD", path.strip("/"))


def files_of_git(source: str) -> tuple[Files, str]:
    """The files of the folder, and the address as messages show it."""
    place = parsed(source)
    with tempfile.TemporaryDirectory(prefix="rune-git-") as scratch:
        folder = Path(scratch)
        _git(folder, "init", "--quiet", "--bare", ".")
        _git(folder, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
             "--", place.repository, place.ref)  # fmt: skip
        tree = f"FETCH_HEAD:{place.path}" if place.path else "FETCH_HEAD^{tree}"
        _git(folder, "archive", "--format=tar", "--output=runeset.tar", tree)
        tar = folder / "runeset.tar"
        if tar.stat().st_size > MOST_TOTAL * 2:
            raise GitFailed(f"{place.shown} is larger than {MOST_TOTAL >> 20} MiB")
        return from_tar(tar.read_bytes(), name=place.shown), place.shown


def _git(folder: Path, *words: str) -> None:
    """Run git with the user's own credentials and nothing that could ask or run something else."""
    settings = [
        "protocol.allow=never",
        *(f"protocol.{scheme.removesuffix('://')}.allow=always" for scheme in _SCHEMES),
        "core.hooksPath=/dev/null",
        "submodule.recurse=false",
        "http.followRedirects=initial",
        "core.attributesFile=/dev/null",
    ]
    command = ["git", *(part for setting in settings for part in ("-c", setting)), *words]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            preexec_fn=_limited,
        )
    except FileNotFoundError as error:
        raise GitFailed("a git address needs the command git, which is not there: install git") from error
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(f"git takes longer than {SECONDS:g} s") from error
    if done.returncode:
        raise _failed(words[0], done.stderr.decode(errors="replace"))


def _environment() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_FORGET)}
    ssh = {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    return {**kept, **ssh, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_PACK, MOST_PACK))


def _failed(verb: str, said: str) -> Exception:
    """The last thing that git said, without what may be secret in an address."""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    last = re.sub(r"//[^/@\s]*@", "//", lines[-1] if lines else "no reason given")
    words = "".join(char if char.isprintable() else " " for char in last)[:_SAID]
    if verb == "archive" or "find remote ref" in words:
        return NotFound(f"the repository has no such reference or folder: {words}")
    return GitFailed(f"git {verb} failed: {words}")
