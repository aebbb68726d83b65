"""An agent in a container under mutual TLS: what it is given opens the door, until it is quarantined."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import tarfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from containers import ours
from engines import Engine, root_filesystem
from promises import promise
from rune.api.orchestrator import exec as commands
from rune.api.orchestrator import instances
from rune.api.orchestrator.guard import QuarantineWhen, ServiceAgent
from rune.api.orchestrator.instances import InstanceStatus
from rune.api.security import events
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.client.trust import read
from rune.core.authority import Authority
from runed import Runed

pytestmark = [
    pytest.mark.system,
    pytest.mark.requires("docker"),
    pytest.mark.timeout(90),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (apt-get install openssl)"),
]
IMAGE = "rune-test-openssl:1"
ALARM = {
    "event_id": "1", "timestamp": datetime.now(UTC).isoformat(), "agent_id": "bot",
    "event_type": "policy_violation",
    "policy_result": {"allowed": False, "action": "block", "severity": "critical", "rule": "p/r"},
}  # fmt: skip
SEND = """
set -e
body='%s'
place=${RUNE_ENDPOINT#https://}
{ printf 'POST /v1/events HTTP/1.1\\r\\nHost: %%s\\r\\nX-Rune-Key: %%s\\r\\n' $place $(cat $RUNE_API_KEY_FILE)
  printf 'Content-Type: application/json\\r\\nContent-Length: %%s\\r\\nConnection: close\\r\\n\\r\\n' ${#body}
  printf '%%s' "$body"; } |
openssl s_client -quiet -ign_eof -verify_return_error -verify_hostname ${place%%:*} -connect $place \\
  -CAfile $RUNE_CA_FILE -cert $RUNE_CERT_FILE -key $RUNE_KEY_FILE 2>&1
"""
"""As an agent would, with the file names that it finds in its environment; the answer is what it says."""
WAIT = "trap 'exit 0' TERM; sleep 3600 & wait"


def image(engine: Engine) -> None:
    """The test image, and a program that speaks TLS."""
    program = shutil.which("openssl") or ""
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    out = io.BytesIO(root_filesystem("openssl"))
    with tarfile.open(fileobj=out, mode="a") as tar:
        tar.add(program, "bin/openssl")
        for path in sorted(set(re.findall(r"/\S+", linked))):
            tar.add(Path(path).resolve(), path.lstrip("/"))
        names = b"hosts: files\n"  # what the runner says of the machine stands in /etc/hosts
        conf = tarfile.TarInfo("etc/nsswitch.conf")
        conf.size, conf.mode = len(names), 0o644
        tar.addfile(conf, io.BytesIO(names))
    engine.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, given=out.getvalue())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
async def server(docker_engine: Engine, tmp_path: Path) -> AsyncGenerator[Runed]:
    """A runed that lets nobody in without a certificate, and that containers reach."""
    image(docker_engine)
    docker_engine.hold_gateway()
    authority = Authority(tmp_path / "certs", datetime.now(UTC))
    authority.init("test")
    authority.issue_server(("localhost", "host.docker.internal"), days=90)
    authority.issue_client("root", days=90)
    path, port = authority.path, free_port()
    settings = {
        "runner": {"docker": {"socket": str(docker_engine.socket)}},
        "agents": {"endpoint": f"https://host.docker.internal:{port}"},
        "auth": {"tls": {
            "enabled": True, "cert-file": str(path("server")), "key-file": str(path("server", key=True)),
            "client-ca-file": str(path("ca")),
        }},
    }  # fmt: skip
    (tmp_path / "runefile.yaml").write_text(json.dumps(settings), encoding="utf-8")
    made = Runed(tmp_path / "data")
    made.http = f"0.0.0.0:{port}"
    await made.start("--dev", "--config", str(tmp_path / "runefile.yaml"))
    trust = read(
        authority=str(path("ca")),
        certificate=str(path("client-root")),
        key=str(path("client-root-key")),
    )
    target = f"localhost:{made.grpc.rpartition(':')[2]}"
    await made.trusting(Client(GrpcTransport(target, token=made.token, trust=trust)))
    try:
        yield made
    finally:
        await made.end()
        assert ours(docker_engine, made) == []


async def ran(server: Runed, *command: str) -> str:
    ask = commands.RunCommandRequest(target="bot", command=list(command))
    said = [
        (item.stdout or b"") + (item.stderr or b"") async for item in server.client.stream(commands.run, ask)
    ]
    return b"".join(said).decode()


async def until_stopped(server: Runed) -> None:
    ask = instances.WatchInstancesRequest(service_id="bot")
    async with aclosing(server.client.stream(instances.watch, ask)) as seen:
        async for item in seen:
            if item.instance and item.instance.status is InstanceStatus.STOPPED and not item.instance.pid:
                return


@promise("agents.endpoint", "agents.quarantine")
async def test_a_container_reports_with_a_certificate_until_it_is_quarantined(
    server: Runed, tmp_path: Path
) -> None:
    agent = ServiceAgent(id="bot", quarantine=QuarantineWhen.ON_CRITICAL)
    spec: dict[str, Any] = {"image": IMAGE, "command": "/bin/sh", "args": ["-c", WAIT]}
    await server.create("bot", agent=agent, **spec)
    await server.until_running("bot")
    files: dict[str, Path] = {}
    for name in ("ca.pem", "pass.pem", "pass-key.pem", "api-key"):
        files[name] = tmp_path / name
        files[name].write_text(await ran(server, "cat", f"/run/rune-agent/{name}"), encoding="utf-8")
    files["pass-key.pem"].chmod(0o600)

    harmless = {**ALARM, "event_id": "0", "event_type": "session", "policy_result": None}
    said = await ran(server, "sh", "-c", SEND % json.dumps({"events": [harmless]}))
    assert "HTTP/1.1 202" in said, said
    found = await server.call(events.list_, events.ListSecurityEventsRequest(agent_id="bot"))
    assert [each.event_type for each in found.events] == ["session"]

    await ran(server, "sh", "-c", SEND % json.dumps({"events": [ALARM]}))
    await until_stopped(server)
    assert (await server.service("bot")).status_reason == "Quarantined"
    trust = read(
        authority=str(files["ca.pem"]), certificate=str(files["pass.pem"]), key=str(files["pass-key.pem"])
    )
    async with httpx.AsyncClient(verify=trust.context(), trust_env=False) as http:
        url = f"https://localhost:{server.http.rpartition(':')[2]}/v1/sdk/bundle"
        answer = await http.get(url, headers={"X-Rune-Key": files["api-key"].read_text().strip()})
    assert answer.status_code == 401
