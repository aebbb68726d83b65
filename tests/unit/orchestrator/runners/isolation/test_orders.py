"""What the keeper is told: the arguments of bubblewrap, the bits of capabilities, the filter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Isolation, Limits, Mount, Workload
from rune.orchestrator.runners.isolation import capabilities, syscalls, wrap
from rune.orchestrator.runners.isolation.host import Feature, Host
from rune.orchestrator.runners.isolation.orders import PROCESSES, Rules, orders

seccomp = pytest.mark.requires("libseccomp")
ROOT = Host(bubblewrap="/usr/bin/bwrap", is_root=True)
SCRATCH = Path("/data/instances/a/scratch")


def order(workload: Workload, *, hidden: tuple[Path, ...] = (), host: Host = ROOT) -> dict[str, object]:
    return dict(orders(workload, Rules(hidden=hidden), host=host, scratch=SCRATCH))


def boxed(**more: object) -> Workload:
    return Workload(instance="a", command=["x"], isolation=Isolation(), **more)  # pyright: ignore[reportArgumentType] - fields by name


def test_nothing_asked_for_is_nothing_ordered() -> None:
    assert order(Workload(instance="a", command=["x"])) == {"limits": {}, "sandbox": None}


@seccomp
def test_a_sandbox_has_a_limit_of_processes_where_there_can_be_one() -> None:
    assert order(boxed())["limits"] == {"processes": PROCESSES}
    assert order(boxed(limits=Limits(processes=7, cpu=0.5)))["limits"] == {"processes": 7, "cpu": 0.5}
    lacking = Host(is_root=True, lacks={Feature.PROCESSES: "no"})
    assert order(boxed(), host=lacking)["limits"] == {}


@seccomp
def test_a_working_folder_among_runeds_own_files_is_refused_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "data" / "keeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "keeper")
    for workdir in (tmp_path / "data", tmp_path / "data" / "keeper", tmp_path / "link"):
        with pytest.raises(FailedPrecondition, match="is part of what runed keeps"):
            order(boxed(workdir=str(workdir)), hidden=(tmp_path / "data",))
    with pytest.raises(FailedPrecondition, match="it is no folder"):
        order(boxed(workdir=str(tmp_path / "nowhere")))


def test_what_is_hidden_is_covered_after_the_working_folder_and_before_the_scratch_folder() -> None:
    view = wrap.View(
        is_root=True,
        workdir="/srv",
        scratch="/srv/data/a/scratch",
        hidden_folders=["/srv/data"],
        hidden_files=["/etc/key"],
        mounts=[Mount(source="/x", target="/run/secrets/x")],
    )
    said = wrap.arguments(view)
    places = [
        _at(said, "--bind", "/srv", "/srv"),
        _at(said, "--tmpfs", "/srv/data"),
        _at(said, "--ro-bind", "/dev/null", "/etc/key"),
        _at(said, "--dir", "/srv/data/a"),
        _at(said, "--bind", "/srv/data/a/scratch", "/srv/data/a/scratch"),
        _at(said, "--dir", "/run/secrets"),
        _at(said, "--ro-bind", "/x", "/run/secrets/x"),
        _at(said, "--remount-ro", "/srv/data"),
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("is_root", [True, False])
def test_the_kernels_own_files_are_never_writable(*, is_root: bool) -> None:
    said = wrap.arguments(wrap.View(is_root=is_root), ["sys"])
    assert _at(said, "--bind", "/", "/") < _at(said, "--ro-bind", "/sys", "/sys")
    assert _at(said, "--proc", "/proc") < _at(said, "--ro-bind", "/proc/sys", "/proc/sys")
    assert ("--unshare-user" in said) is not is_root


def _at(said: list[str], *words: str) -> int:
    return next(at for at in range(len(said)) if tuple(said[at : at + len(words)]) == words)


@given(st.sets(st.sampled_from(capabilities.NAMES)))
def test_capabilities_are_a_bit_each_however_they_are_written(names: set[str]) -> None:
    bits = capabilities.bits(f"cap_{name.lower()}" for name in names)
    assert bits == capabilities.bits(names)
    assert {name for number, name in enumerate(capabilities.NAMES) if bits >> number & 1} == names


def test_an_unknown_capability_is_named_with_the_nearest() -> None:
    (found,) = capabilities.violations("f", ["KILL", "NET_BIND_SERVISE"])
    assert str(found) == "f[1]: 'NET_BIND_SERVISE' is no capability of Linux; did you mean NET_BIND_SERVICE?"


@seccomp
def test_an_unknown_system_call_is_named_and_those_of_a_start_cannot_be_denied() -> None:
    said = [str(found) for found in syscalls.violations("f", ["mkdir", "mkdri", "a b"], denied=True)]
    assert said == [
        "f[1]: 'mkdri' is no system call that libseccomp knows",
        "f[2]: 'a b' is no system call that libseccomp knows",
    ]
    (found,) = syscalls.violations("f", ["execve"], denied=True)
    assert "cannot be denied" in str(found)
    assert list(syscalls.violations("f", ["execve"])) == []


@seccomp
def test_a_filter_is_whole_instructions_and_depends_on_what_is_kept() -> None:
    def made(*allowed: str, denied: str = "", kept: str = "", strict: bool = False) -> bytes:
        return syscalls.program(
            frozenset(allowed), frozenset(denied.split()), frozenset(kept.split()), strict=strict
        )

    filters = [
        made(),
        made(denied="mkdir"),
        made("read"),
        made("read", denied="read"),
        made(kept="SYS_ADMIN"),
        made(strict=True),
    ]
    assert len(set(filters)) == len(filters)
    assert all(len(each) % 8 == 0 and each for each in filters)
