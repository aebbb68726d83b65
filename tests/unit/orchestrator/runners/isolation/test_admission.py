"""What a server cannot enforce is refused with every reason and the remedy; what needs nothing passes."""

from __future__ import annotations

import asyncio
import os

import pytest

from promises import promise
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Isolation, Limits, Mount, Workload
from rune.orchestrator.runners.isolation import host
from rune.orchestrator.runners.isolation.admission import admit, needs
from rune.orchestrator.runners.isolation.host import Feature, Host
from rune.orchestrator.runners.isolation.orders import Mode, wanted

ABLE = Host(bubblewrap="/usr/bin/bwrap", is_root=True)
UNABLE = Host(lacks={feature: f"needs {feature.name}" for feature in Feature})


def asking(
    isolation: Isolation | None = None, limits: Limits | None = None, *, user: str = "", mounts: int = 0
) -> Workload:
    given = [Mount(source="/a", target=f"/run/{number}") for number in range(mounts)]
    return Workload(
        instance="a", command=["x"], isolation=isolation, limits=limits or Limits(), user=user, mounts=given
    )


@promise("work.enforced")
@pytest.mark.parametrize(
    "workload, words",
    [
        (asking(Isolation(read_only=True)), "readOnlyFS needs SANDBOX"),
        (asking(Isolation(denied_syscalls=["mount"])), "deniedSyscalls needs SANDBOX"),
        (asking(Isolation(allowed_syscalls=["read"])), "allowedSyscalls needs SANDBOX"),
        (
            asking(Isolation(capabilities=["KILL"])),
            "capabilities needs SANDBOX; capabilities needs CAPABILITIES",
        ),
        (asking(mounts=1), "mounts needs SANDBOX"),
        (asking(limits=Limits(cpu=0.5)), "resources.cpu needs CPU"),
        (asking(limits=Limits(cpu_request=0.5)), "resources.cpu needs CPU"),
        (asking(limits=Limits(memory=1 << 20)), "resources.memory needs MEMORY"),
        (asking(limits=Limits(processes=5)), "max_processes needs PROCESSES"),
    ],
)
def test_what_the_machine_lacks_is_refused_with_the_field_and_the_remedy(
    workload: Workload, words: str
) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        admit(workload, "default", UNABLE)
    assert refused.value.message == f"cannot be enforced on this server: {words}"
    admit(workload, "default", ABLE)


def test_a_workload_that_asks_for_nothing_runs_on_any_machine() -> None:
    admit(asking(), "default", UNABLE)
    assert needs(asking(), "default") == {}


def test_without_isolation_limits_are_given_and_sandboxes_refused() -> None:
    admit(asking(limits=Limits(cpu=1)), "none", ABLE)
    with pytest.raises(
        FailedPrecondition, match="readOnlyFS needs a sandbox, .*isolation is none: set it to"
    ):
        admit(asking(Isolation(read_only=True)), "none", ABLE)


def test_strict_isolation_wants_a_sandbox_and_a_user_for_everything() -> None:
    with pytest.raises(FailedPrecondition, match="isolation: strict needs SANDBOX"):
        admit(asking(), "strict", UNABLE)
    for user in ("", "root", "0"):
        with pytest.raises(FailedPrecondition, match="needs a user of its own: set securityContext.user"):
            admit(asking(user=user if os.geteuid() == 0 else ""), "strict", ABLE)


@pytest.mark.parametrize(
    "mode, workload, sandbox",
    [
        ("default", asking(), None),
        ("default", asking(Isolation()), Isolation()),
        ("default", asking(mounts=1), Isolation()),
        ("strict", asking(), Isolation(read_only=True)),
        (
            "strict",
            asking(Isolation(capabilities=["KILL"])),
            Isolation(read_only=True, capabilities=["KILL"]),
        ),
    ],
)
def test_the_mode_and_the_workload_decide_about_the_sandbox(
    mode: Mode, workload: Workload, sandbox: Isolation | None
) -> None:
    assert wanted(workload, mode) == sandbox


async def test_a_machine_without_bubblewrap_or_controllers_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    async with asyncio.timeout(10):
        found = await host.detect(["cpu"])
    assert found.lacks[Feature.SANDBOX] == "needs bubblewrap: apt-get install bubblewrap"
    assert Feature.CPU not in found.lacks
    assert "cgroup controller 'memory'" in found.lacks[Feature.MEMORY]
    assert "Delegate=yes" in found.lacks[Feature.PROCESSES]


async def test_a_bubblewrap_that_fails_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = tmp_path_factory.mktemp("bin") / "bwrap"
    program.write_text("#!/bin/sh\necho 'no permission to make namespaces' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    found = await host.detect([])
    assert "(no permission to make namespaces)" in found.lacks[Feature.SANDBOX]
