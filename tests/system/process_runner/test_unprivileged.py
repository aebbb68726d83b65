"""A runner that is not root: sandboxes by user namespaces, and a refusal for what only root can do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.requires("root", "bubblewrap", "libseccomp")]

SOURCE = Path(__file__).parents[3] / "src"
SCRIPT = """
import asyncio, json, sys
from datetime import UTC, datetime
from pathlib import Path
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Command, Isolation, Limits, Workload
from rune.orchestrator.runners.process import ProcessRunner

LOOK = "id -u; grep -E '^Cap(Eff|Bnd)|NoNew|Seccomp:' /proc/self/status; ls /proc | grep -c '^[0-9]'"
LOOK += "; touch /usr/x 2>&1; touch mine && echo mine; ls " + sys.argv[1] + "/keeper 2>&1"
LOOK += "; cat /proc/1/environ 2>&1; kill -9 " + sys.argv[2] + " 2>&1; exec sleep 3600"

async def main():
    runner = ProcessRunner(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
    await runner.start()
    work = {"command": ["/bin/sh", "-c", LOOK], "env": {"PATH": "/usr/bin:/bin"}}
    refused = []
    kept = Isolation(capabilities=["KILL"])
    for more in ({"user": "root"}, {"isolation": kept}, {"limits": Limits(cpu=1)}):
        try:
            await runner.ensure(Workload(instance="a", **work, **more))
        except FailedPrecondition as error:
            refused.append(error.message)
    lacks = sorted(runner.host.lacks)
    running = await runner.ensure(Workload(instance="a", **work, isolation=Isolation(read_only=True)))
    said = []
    async for batch in runner.logs("a", follow=True):
        said += [line.text for line in batch]
        if any("No such process" in text for text in said):
            break
    look = ["/bin/sh", "-c", "id -u; grep Seccomp: /proc/self/status"]
    inside = await runner.exec("a", Command(command=look))
    told = b"".join([chunk async for _, chunk in inside.output()]).decode()
    code = await inside.wait()
    await inside.close()
    stopped = await runner.stop("a", grace=2)
    await runner.shutdown(grace=1)
    print(json.dumps([refused, lacks, said, told, code, stopped.exit_code]))

asyncio.run(main())
"""


def test_without_root_a_sandbox_holds_and_what_needs_root_is_refused(tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin")
    home = Path("/var/tmp", f"rune-{os.getpid()}")  # noqa: S108 - pytest's own folder is root's alone
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    if not python or not all(_open_to_all(path) for path in (SOURCE, Path(packages))):
        pytest.skip("needs /usr/bin/python3 and a checkout that another user may read")
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    try:
        done = subprocess.run(
            [python, "-B", "-c", SCRIPT, str(home / "data"), str(os.getpid())],
            user=65534,
            group=65534,
            extra_groups=[],
            env={"PYTHONPATH": f"{SOURCE}:{packages}", "PATH": "/usr/bin:/bin", "HOME": str(home)},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(home)
    refused, lacks, said, told, code, stopped = json.loads(done.stdout)
    assert "only root may switch" in refused[0]
    assert "capabilities only root can hand on capabilities: run runed as root" in refused[1]
    assert lacks[0] == "capabilities"
    assert "sandbox" not in lacks
    assert "Read-only file system" in "".join(said)
    assert {"65534", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} <= set(said)
    assert "Seccomp:\t2" in said
    assert "mine" in said
    assert [text for text in said if "Permission denied" in text]
    assert told == "65534\nSeccomp:\t2\n"
    assert (code, stopped) == (0, 143)


def _open_to_all(path: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (path, *path.parents))
