"""Isolation seen from outside: what is cast, what is refused at once, and what a workload gets from runed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from promises import promise
from rune.api.orchestrator import health
from rune.api.orchestrator.instances import InstanceStatus
from rune.api.orchestrator.specs import (
    ProcessSecurityContext,
    ProcessSpec,
    ResourceLimit,
    Resources,
    RestartPolicy,
)
from rune.errors import FailedPrecondition, InvalidArgument
from runed import runed

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(60),
    pytest.mark.requires("root", "bubblewrap", "libseccomp"),
]
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "python3"
BOOTSTRAP = """
import json, sys, urllib.error, urllib.request
for path in ("admin/bootstrap", "admin/users", "namespaces"):
    request = urllib.request.Request(f"http://{sys.argv[1]}/v1/{path}", data=b"{}")
    request.add_header("Content-Type", "application/json")
    try:
        urllib.request.urlopen(request, timeout=5)
        print(json.dumps([path, 200]), flush=True)
    except urllib.error.HTTPError as error:
        print(json.dumps([path, error.code]), flush=True)
"""


def process(*command: str, **security: Any) -> ProcessSpec:
    """A process with a security context."""
    context = ProcessSecurityContext(**security)
    return ProcessSpec(command=command[0], args=list(command[1:]), security_context=context)


async def test_a_workload_reaches_no_operation_of_runed_without_a_token(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        prisoner = process(PYTHON, "-I", "-c", BOOTSTRAP, server.http, user="nobody", read_only_fs=True)
        await server.cast("prisoner", [""], process=prisoner, restart_policy=RestartPolicy.NEVER)
        said = [json.loads(line) for line in await server.lines("prisoner", 3)]
    # The first token exists before the first workload can: bootstrap is over.
    assert said == [["admin/bootstrap", 412], ["admin/users", 401], ["namespaces", 401]]


@promise("work.enforced")
async def test_what_the_machine_cannot_enforce_is_refused_at_the_cast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    async with runed(tmp_path / "data") as server:
        remedy = "readOnlyFS needs bubblewrap: apt-get install bubblewrap"
        with pytest.raises(FailedPrecondition, match=remedy):
            await server.cast("api", [""], process=process("/bin/sleep", "60", read_only_fs=True))
        with pytest.raises(FailedPrecondition, match="user 'no-such-user' does not exist"):
            await server.cast("api", [""], process=process("/bin/sleep", "60", user="no-such-user"))
        await server.cast("api", ["/bin/sleep", "60"])
        await server.until_running("api")
        node = health.GetHealthRequest(component_type="node", include_checks=True)
        (found,) = (await server.call(health.get, node)).components
    said = {check.message.partition(": ")[0]: check.message for check in found.check_results}
    assert said["process sandbox"] == "process sandbox: needs bubblewrap: apt-get install bubblewrap"
    assert said["process capabilities"] == "process capabilities: can be enforced"


async def test_names_that_do_not_exist_are_refused_by_field(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        wrong = process("x", capabilities=["NET_RAWW"], denied_syscalls=["execve"], allowed_syscalls=["raed"])
        with pytest.raises(InvalidArgument) as refused:
            await server.cast("api", [""], process=wrong)
    assert [violation.field for violation in refused.value.details] == [
        f"service.process.security_context.{field}[0]"
        for field in ("capabilities", "allowed_syscalls", "denied_syscalls")
    ]


@pytest.mark.requires("limits")
async def test_a_copy_that_needs_too_much_memory_says_so_in_its_status(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        resources = Resources(memory=ResourceLimit(limit="32Mi"), cpu=ResourceLimit(limit="500m"))
        hungry = ProcessSpec(command=PYTHON, args=["-I", "-c", "b'x' * (200 << 20)"])
        await server.cast(
            "hungry", [""], process=hungry, resources=resources, restart_policy=RestartPolicy.NEVER
        )
        service = await server.until(
            "hungry", lambda found: any(one.status is InstanceStatus.FAILED for one in found.instances)
        )
    assert service.instances[0].status_message == "killed: past its memory limit of 32Mi"
    assert service.instances[0].exit_code == 137


async def test_strict_isolation_puts_everything_into_a_sandbox(tmp_path: Path) -> None:
    runefile = tmp_path / "runefile.yaml"
    runefile.write_text("runner: {process: {isolation: strict}}\n")
    async with runed(tmp_path / "data", "--config", str(runefile)) as server:
        with pytest.raises(FailedPrecondition, match=r"needs a user of its own: set securityContext\.user"):
            await server.cast("api", ["/bin/sleep", "60"])
        look = "id -u; touch /usr/x 2>&1; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; exec sleep 60"
        await server.cast("api", [""], process=process("/bin/sh", "-c", look, user="nobody"))
        said = await server.lines("api", 4)
    assert said[0] == "65534"
    assert said[1].endswith("Read-only file system")
    assert said[2:] == ["NoNewPrivs:\t1", "Seccomp:\t2"]
