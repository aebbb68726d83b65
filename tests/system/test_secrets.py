"""A real runed, and a process that uses secrets: every place a value could turn up is searched for it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as Assistant
from mcp import StdioServerParameters

from promises import promise
from rune.api.orchestrator import audit, instances, keys, registries, secrets, services, watch
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig
from rune.api.orchestrator.specs import EnvFromSource, KeyToPath, SecretMount
from rune.api.security import webhooks
from rune.errors import RuneError, Unavailable
from rune.orchestrator.runners.files import place
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PLANTED = [
    f"hunter2-planted-{name}"
    for name in ("first", "second", "patched", "env", "registry", "refused", "data", "webhook")
]
FIRST, SECOND, PATCHED, ENV, REGISTRY, REFUSED, DATA, WEBHOOK = PLANTED
USER = """
test "$PG_password" = "$(cat $RUNE_MOUNTS/pg/password)" || exit 3
echo ready
cd $RUNE_MOUNTS/db
until test "$(cat pw)" = "$(cat cert)"; do sleep 0.05; done
echo same
while test "$(cat pw)" = "$(cat cert)"; do sleep 0.05; done
echo different
exec sleep 1000
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data", "--log-level", "debug") as started:
        yield started


def forms(text: str) -> Iterator[bytes]:
    """How a value may stand in a file: as it is, and in base64 at each of its three offsets."""
    yield text.encode()
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + text.encode())
        yield whole[4 : len(whole) - 4]


def found_in(data: bytes) -> list[str]:
    return [text for text in PLANTED if any(form in data for form in forms(text))]


def searched(folder: Path) -> dict[str, list[str]]:
    """Files that hold a value, by path, but those that are mounted."""
    hits: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and "mounts" not in path.relative_to(folder).parts:
            hit = found_in(path.read_bytes())
            if hit:
                hits[str(path)] = hit
    return hits


def command_lines() -> bytes:
    """The argument list of every process of this machine."""
    lines = b""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                lines += (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return lines


async def rest(server: Runed, verb: str, path: str, body: Any = None) -> bytes:
    """What a request is answered with, its headers included; failures as well."""

    def ask() -> bytes:
        request = urllib.request.Request(
            f"http://{server.http}{path}",
            method=verb,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
                return bytes(answer.headers) + answer.read()
        except urllib.error.HTTPError as error:
            return bytes(error.headers) + error.read()

    return await asyncio.to_thread(ask)


async def cli(server: Runed, *args: str, stdin: bytes = b"") -> bytes:
    pipe = asyncio.subprocess.PIPE
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RUNE_SERVER": server.grpc}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rune.cli.main", *args),
        stdin=pipe,
        stdout=pipe,
        stderr=asyncio.subprocess.STDOUT,
        env={**environ, "RUNE_TOKEN": server.token},
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate(stdin)
    return out


async def planted(server: Runed) -> None:
    """Values in secrets of every age, in a registry, and in a process that uses them."""
    data = {"password": FIRST, "cert": DATA}
    await server.call(
        secrets.create, secrets.CreateSecretRequest(secret=secrets.Secret(name="db", data=data))
    )
    second = secrets.Secret(name="db", data={"password": SECOND, "cert": DATA})
    await server.call(secrets.update, secrets.UpdateSecretRequest(secret=second))
    assert b"created" in await cli(
        server, "create", "secret", "pg", "--from-literal", "password=-", stdin=f"{ENV}\n".encode()
    )
    auth = RegistryAuthConfig(username="me", password=REGISTRY)
    config = RegistryConfig(name="hub", registry="127.0.0.1:1", auth=auth)
    await server.call(registries.add_registry, registries.AddRegistryRequest(registry=config))
    hook = webhooks.CreateWebhookRequest(url="https://127.0.0.1:1/", secret=WEBHOOK)
    assert (await server.call(webhooks.create, hook)).secret == WEBHOOK
    await server.cast(
        "user",
        ["sh", "-c", USER],
        env_from=[EnvFromSource(secret_name="pg", prefix="PG_")],
        secret_mounts=[
            SecretMount(
                mount_path="db",
                secret_name="db",
                items=[KeyToPath(key="password", path="pw"), KeyToPath(key="cert", path="cert")],
            ),
            SecretMount(mount_path="pg", secret_name="pg"),
        ],
    )
    await server.until_running("user")
    assert await server.lines("user", 1) == ["ready"]
    patch = {"password": PATCHED, "cert": PATCHED}
    await server.call(secrets.patch, secrets.PatchSecretRequest(name="db", set=patch))
    assert await server.lines("user", 2) == ["ready", "same"]


async def refusals(server: Runed) -> str:
    """What is said to requests that are wrong and hold a value."""
    said = ""
    large = REFUSED * 5000
    for data in ({"a": large}, {"bad key": REFUSED}, {f"k{number}": REFUSED for number in range(65)}):
        try:
            wrong = secrets.CreateSecretRequest(secret=secrets.Secret(name="wrong", data=data))
            await server.call(secrets.create, wrong)
        except RuneError as error:
            said += f"{error!r}{error.details}"
        else:
            raise AssertionError(f"{list(data)[:2]} was accepted")
    path = "/v1/namespaces/default/secrets"
    for body in (
        {"name": "x", "data": {"bad key": REFUSED}},
        {"name": "x", "data": REFUSED},
        {"name": "x", "data": {"a": {"b": REFUSED}}},
        {"name": "x", "data": {"a": [REFUSED]}},
        {"name": "Bad", "data": {"a": REFUSED}, "more": REFUSED},
    ):
        answer = (await rest(server, "POST", path, body)).decode()
        assert '"code":3' in answer.replace(" ", ""), answer
        said += answer
    return said


async def answers(server: Runed) -> dict[str, bytes]:
    """Everything that can be asked without revealing, at every door."""
    item = "/v1/namespaces/default/secrets/db"
    found = {
        path: await rest(server, "GET", path)
        for path in (item, f"{item}/versions", "/v1/namespaces/*/secrets", "/v1/admin/registries")
    }
    found |= {
        path: await rest(server, "GET", path)
        for path in ("/v1/admin/registries/hub", "/v1/admin/registries:status", "/v1/admin/audit", "/metrics")
    }
    found |= {
        path: await rest(server, "GET", path)
        for path in (
            "/v1/namespaces/default/services/user",
            "/v1/namespaces/default/instances",
            "/v1/webhooks",
        )
    }
    found["test"] = await rest(server, "POST", "/v1/admin/registries/hub/test", {})
    found["rollback"] = await rest(server, "POST", f"{item}/rollback", {})
    found["forward"] = await rest(server, "POST", f"{item}/rollback", {})
    for words in (
        ("get", "secrets", "-A", "-o", "yaml"),
        ("get", "secret", "db", "-o", "json"),
        ("secret", "versions", "db", "-o", "yaml"),
        ("get", "services", "-o", "yaml"),
        ("admin", "registries", "list", "-o", "yaml"),
        ("admin", "audit", "list", "-o", "json"),
    ):
        found[" ".join(words)] = await cli(server, *words)
    ask = secrets.ListSecretsRequest(namespace="*")
    found["grpc"] = repr(await server.call(secrets.list_, ask)).encode()
    found["copies"] = repr(await server.call(instances.list_, instances.ListInstancesRequest())).encode()
    found["audit"] = repr(await server.call(audit.list_, audit.ListAuditEventsRequest())).encode()
    return found


async def watched(server: Runed) -> bytes:
    """Everything that ever happened, as a watch of the log tells it."""
    everything = b""
    ask = watch.SubscribeRequest(from_seq=1)
    last = (await server.call(services.list_, services.ListServicesRequest())).revision
    async with asyncio.timeout(20), aclosing(server.client.stream(watch.subscribe, ask)) as events:
        async for event in events:
            assert event.event
            everything += repr(event).encode() + b"".join(item.payload for item in event.event.mutations)
            if event.event.seq >= last - 3:
                break
    return everything


async def told_to_an_assistant(server: Runed, home: Path) -> bytes:
    environ = {"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token, "HOME": str(home)}
    started = StdioServerParameters(command=sys.executable, args=["-m", "rune.mcp.main"], env=environ)
    async with Assistant(started, read_timeout_seconds=30) as ai:
        listed = await ai.list_tools()
        assert not [tool.name for tool in listed.tools if "reveal" in tool.name]
        told = repr(listed)
        for tool, ask in (("get_secret", {"name": "db"}), ("list_secrets", {}), ("list_registries", {})):
            answer = await ai.call_tool(tool, ask)
            assert not answer.is_error
            told += repr(answer)
    return told.encode()


@promise("secrets.never")
async def test_a_value_is_nowhere_but_where_it_was_asked_for(server: Runed, tmp_path: Path) -> None:
    await planted(server)
    assert not found_in((await refusals(server)).encode())
    said = await answers(server)
    assert not {name: found_in(data) for name, data in said.items() if found_in(data)}
    assert all(b"db" in said[name] for name in ("grpc", "audit", "get secret db -o json"))
    assert not found_in(await watched(server))
    assert not found_in(await told_to_an_assistant(server, tmp_path))
    assert not found_in(command_lines())
    revealed = await server.call(secrets.reveal, secrets.RevealSecretRequest(name="db"))
    assert revealed.secret
    assert revealed.secret.data["password"] == PATCHED
    assert found_in(await rest(server, "POST", "/v1/namespaces/default/secrets/db/reveal", {}))
    await server.call(keys.rotate, keys.RotateKekRequest())
    await server.end(signal.SIGKILL)
    await server.start("--dev", "--log-level", "debug")
    await server.until_running("user")
    assert searched(server.folder) == {}
    assert not found_in(server.folder.with_suffix(".log").read_bytes())
    assert (server.folder / "state.db").stat().st_size > 0


async def test_mounted_files_outlive_the_daemon_and_go_with_the_service(server: Runed) -> None:
    await planted(server)
    (copy,) = await server.copies("user")
    shelf = place(server.folder, is_root=os.geteuid() == 0)
    assert (shelf / copy.id / "db/pw").read_text(encoding="utf-8") == PATCHED
    await server.end(signal.SIGKILL)
    await server.start("--dev")
    service = await server.until_running("user")
    assert service.instances[0].pid == copy.pid
    await server.call(secrets.patch, secrets.PatchSecretRequest(name="db", set={"password": SECOND}))
    assert await server.lines("user", 3) == ["ready", "same", "different"]
    assert (shelf / copy.id / "db/pw").read_text(encoding="utf-8") == SECOND
    await server.call(services.delete, services.DeleteServiceRequest(name="user", force=True))
    assert not (shelf / copy.id).exists()


async def test_a_server_without_its_key_does_not_start_and_says_which(server: Runed) -> None:
    secret = secrets.Secret(name="db", data={"password": FIRST})
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    await server.end(signal.SIGKILL)
    kek, away = server.folder / "kek", server.folder.with_name("kek-away")
    kek.rename(away)
    with pytest.raises(
        Unavailable, match="kek does not exist: secrets were sealed with a key that was there"
    ):
        await server.start("--dev")
    away.chmod(0o644)
    away.rename(kek)
    with pytest.raises(Unavailable, match="is open to others"):
        await server.start("--dev")
    kek.chmod(0o600)
    await server.start("--dev")
    revealed = await server.call(secrets.reveal, secrets.RevealSecretRequest(name="db"))
    assert revealed.secret
    assert revealed.secret.data == {"password": FIRST}


async def test_a_secret_as_large_as_it_may_be_is_taken_and_given(server: Runed) -> None:
    data = {f"k{number:02}": "x" * 65_536 for number in range(48)}
    secret = secrets.Secret(name="big", data=data)
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    await server.cast(
        "big",
        ["sh", "-c", "cat $RUNE_MOUNTS/big/* | wc -c; exec sleep 1000"],
        secret_mounts=[SecretMount(mount_path="big", secret_name="big")],
    )
    assert await server.lines("big", 1) == [str(48 * 65_536)]
