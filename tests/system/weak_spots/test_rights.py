"""Weak spots 1 to 9 and 16: doors, rights and secrets, asked of a real runed from outside.

tests/weak_spots.py lists all of them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands import rune
from promises import promise
from rune.api import OPERATIONS, Operation, Streaming
from rune.api.fields import Message
from rune.api.operation import Access
from rune.api.orchestrator import (
    admin,
    auth,
    instances,
    namespaces,
    registries,
    secrets,
    services,
)
from rune.api.orchestrator import (
    exec as commands,
)
from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import EnvFromSource, ProcessSpec, SecretMount
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.client.trust import read
from rune.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RuneError,
)
from runed import Runed, runed
from surface.tls import authority_in

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
ANYBODY = {
    *("get_server_version", "who_am_i", "list_permissions", "validate_policy", "subscribe"),  # who is known
    *("begin_session", "list_sessions", "revoke_session", "log_out", "change_password"),  # one's own
    *("log_in", "refresh_session", "redeem_enrollment", "begin_oidc", "finish_oidc"),  # who brings a secret
    *("bootstrap", "get_health"),
}
HTTP1 = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
NO_ANSWER = (b"", b"\x15")
"""The connection ends, after an alert of TLS perhaps."""
VALUE = "hunter2-and-much-more"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


def rest(server: Runed, token: str = "") -> httpx.AsyncClient:
    """REST as somebody, or as root."""
    headers = {"authorization": f"Bearer {token or server.token}"}
    return httpx.AsyncClient(base_url=f"http://{server.http}", headers=headers)


def sleeper(name: str, namespace: str, **fields: Any) -> Service:
    return Service(
        name=name, namespace=namespace, scale=1, process=ProcessSpec(command="sleep", args=["1000"]), **fields
    )


async def create(client: Client, name: str, namespace: str, **fields: Any) -> None:
    service = sleeper(name, namespace, **fields)
    await client.call(services.create, services.CreateServiceRequest(service=service, ensure_namespace=True))


async def somebody(server: Runed, name: str, *rules: PolicyRule) -> str:
    """The token of a subject with just these rights."""
    await server.call(
        admin.create_grant, admin.PolicyCreateRequest(policy=Grant(name=name, rules=list(rules)))
    )
    ask = auth.CreateTokenRequest(subject_name=name, policies=[name])
    return (await server.call(auth.create_token, ask)).secret


@promise("weak-spot.01")
async def test_01_rest_does_what_grpc_does_and_both_see_it(server: Runed) -> None:
    async with rest(server) as http:
        process = {"command": "sleep", "args": ["1000"]}
        body = {"name": "api", "scale": 1, "process": process}
        made = await http.post("/v1/namespaces/default/services", json=body)
        assert made.status_code == 200, made.text
        await server.until_running("api")
        listed = (await http.get("/v1/namespaces/default/services")).json()["services"]
        assert [each["name"] for each in listed] == ["api"]
        gone = await http.delete("/v1/namespaces/default/services/api")
        assert gone.status_code == 200, gone.text
    with pytest.raises(NotFound):
        await server.service("api")


@promise("weak-spot.02")
async def test_02_with_tls_switched_on_neither_door_answers_in_the_clear(tmp_path: Path) -> None:
    folder, config = tmp_path / "certs", tmp_path / "runefile.yaml"
    authority = await asyncio.to_thread(authority_in, folder)
    files = {
        "cert-file": str(authority.path("server")),
        "key-file": str(authority.path("server", key=True)),
    }
    config.write_text(json.dumps({"auth": {"tls": {"enabled": True, **files}}}), encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(config)) as server:
        for address, greeting in ((server.grpc, HTTP2), (server.http, HTTP1)):
            assert await greeted(address, greeting, trust=None) in NO_ANSWER
            trust = read(authority=str(authority.path("ca"))).context()
            trust.set_alpn_protocols(["h2" if greeting is HTTP2 else "http/1.1"])
            assert await greeted(address, greeting, trust=trust) not in NO_ANSWER


async def greeted(address: str, greeting: bytes, *, trust: ssl.SSLContext | None) -> bytes:
    """The first byte that a door answers; in the clear where nothing says whom to trust."""
    async with asyncio.timeout(10):
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trust)
        writer.write(greeting)
        try:
            return await reader.read(1)
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()


@promise("weak-spot.03")
async def test_03_nobody_bootstraps_a_second_time_not_even_after_a_restart(server: Runed) -> None:
    async def refused() -> None:
        async with Client(GrpcTransport(server.grpc)) as stranger:
            with pytest.raises(FailedPrecondition, match="was bootstrapped"):
                await stranger.call(admin.bootstrap, admin.AdminBootstrapRequest())
        async with httpx.AsyncClient(base_url=f"http://{server.http}") as http:
            answer = await http.post("/v1/admin/bootstrap", json={})
            assert answer.status_code == 412, answer.text

    await refused()
    await server.end(signal.SIGKILL)
    await server.start("--dev")
    await refused()


@promise("weak-spot.04")
async def test_04_the_list_of_a_namespace_shows_no_other_that_begins_like_it(server: Runed) -> None:
    for namespace in ("prod", "prod-eu", "prod2"):
        await create(server.client, f"in-{namespace}", namespace)
    token = await somebody(server, "ann", PolicyRule(resource="services", verbs=["list"], namespace="prod"))
    ask = services.ListServicesRequest(namespace="prod")
    async with Client(GrpcTransport(server.grpc, token=token)) as ann:
        for client in (server.client, ann):
            found = await client.call(services.list_, ask)
            assert [service.name for service in found.services] == ["in-prod"]
        everything = await ann.call(services.list_, services.ListServicesRequest(namespace="*"))
        assert [service.name for service in everything.services] == ["in-prod"]
    async with rest(server, token) as http:
        listed = (await http.get("/v1/namespaces/prod/services")).json()["services"]
        assert [each["name"] for each in listed] == ["in-prod"]
        assert (await http.get("/v1/namespaces/prod-eu/services")).status_code == 403


@promise("weak-spot.05")
async def test_05_a_right_to_create_and_update_in_one_namespace_works_there_and_there_alone(
    server: Runed,
) -> None:
    for name in ("prod", "prod-eu"):
        await server.call(
            namespaces.create, namespaces.CreateNamespaceRequest(namespace=Namespace(name=name))
        )
    verbs = ["create", "update"]
    token = await somebody(server, "ann", PolicyRule(resource="services", verbs=verbs, namespace="prod"))
    async with Client(GrpcTransport(server.grpc, token=token)) as ann:
        made = sleeper("api", "prod")
        await ann.call(services.create, services.CreateServiceRequest(service=made))
        changed = sleeper("api", "prod", env={"A": "1"})
        await ann.call(services.update, services.UpdateServiceRequest(service=changed))
        for elsewhere in ("prod-eu", "default", ""):
            with pytest.raises(PermissionDenied):
                ask = services.CreateServiceRequest(service=sleeper("api", elsewhere))
                await ann.call(services.create, ask)
            with pytest.raises(PermissionDenied):
                ask = services.UpdateServiceRequest(service=sleeper("api", elsewhere))
                await ann.call(services.update, ask)
    async with rest(server, token) as http:
        body = {"name": "web", "scale": 1, "process": {"command": "sleep", "args": ["1000"]}}
        assert (await http.post("/v1/namespaces/prod/services", json=body)).status_code == 200
        assert (await http.post("/v1/namespaces/default/services", json=body)).status_code == 403


@promise("weak-spot.06")
async def test_06_each_method_is_refused_without_its_right_and_let_pass_with_just_that(server: Runed) -> None:
    asks: list[tuple[Operation[Any, Any], Message]] = [
        (namespaces.create, namespaces.CreateNamespaceRequest(namespace=Namespace(name="made"))),
        (namespaces.delete, namespaces.DeleteNamespaceRequest(name="nothing")),
        (namespaces.watch, namespaces.WatchNamespacesRequest()),
        (auth.create_token, auth.CreateTokenRequest(subject_name="bob", policies=["right-3"])),
        (auth.revoke_token, auth.RevokeTokenRequest(id="nothing")),
        (instances.start, instances.InstanceActionRequest(id="nothing")),
        (instances.stop, instances.InstanceActionRequest(id="nothing")),
        (instances.restart, instances.InstanceActionRequest(id="nothing")),
    ]
    nobody = await somebody(server, "nobody", PolicyRule(resource="configmaps", verbs=["get"]))
    for number, (operation, ask) in enumerate(asks):
        resource, _, verb = operation.permission.partition(":")
        token = await somebody(server, f"right-{number}", PolicyRule(resource=resource, verbs=[verb]))
        assert await first(server, nobody, operation, ask) == "PermissionDenied"
        assert await first(server, token, operation, ask) in {"", "NotFound"}, operation.name


async def first(server: Runed, token: str, operation: Operation[Any, Any], ask: Message) -> str:
    """How a call ends, or a stream begins: the name of the failure, empty for an answer."""
    async with Client(GrpcTransport(server.grpc, token=token)) as client:
        try:
            if operation.streaming is Streaming.NONE:
                await client.call(operation, ask)
            else:
                async with asyncio.timeout(10), aclosing(client.stream(operation, ask)) as items:
                    await anext(items)
        except RuneError as error:
            return type(error).__name__
    return ""


@promise("weak-spot.06")
def test_06_no_operation_is_without_a_right_but_those_that_are_meant_to_be() -> None:
    without = {
        row.name for row in OPERATIONS if row.access is not Access.GRANTED or ":" not in row.permission
    }
    assert without == ANYBODY


@promise("weak-spot.07")
async def test_07_no_read_of_a_service_an_instance_or_a_secret_shows_its_value(server: Runed) -> None:
    secret = secrets.Secret(name="db", data={"password": VALUE})
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    uses = {
        "env_from": [EnvFromSource(secret_name="db", prefix="DB_")],
        "secret_mounts": [SecretMount(mount_path="db", secret_name="db")],
    }
    await server.cast("api", ["sleep", "1000"], **uses)
    copy = (await server.until_running("api")).instances[0]
    ask = commands.RunCommandRequest(target="api", command=["sh", "-c", "echo $DB_password"])
    told = b"".join([item.stdout or b"" async for item in server.client.stream(commands.run, ask)]).decode()
    assert told.strip() == VALUE  # it has it, so there is something to show
    paths = [
        "/v1/namespaces/default/services/api",
        f"/v1/namespaces/default/instances/{copy.id}",
        "/v1/namespaces/default/instances",
        "/v1/namespaces/default/secrets/db",
        "/v1/namespaces/default/secrets",
    ]
    shown = ""
    async with rest(server) as http:
        for path in paths:
            answer = await http.get(path)
            assert answer.status_code == 200, answer.text
            shown += answer.text
    for words in (["get", "services"], ["get", "instances"], ["get", "secrets"]):
        code, said = await rune(server, *words, "-o", "json")
        assert code == 0, said
        shown += said
    assert "password" in shown
    for form in (VALUE, base64.b64encode(VALUE.encode()).decode()):
        assert form not in shown


@promise("weak-spot.08")
async def test_08_credentials_of_a_registry_come_back_never_and_stand_in_no_file(tmp_path: Path) -> None:
    config = tmp_path / "runefile.yaml"
    config.write_text("server: {log-level: info}\n", encoding="utf-8")
    given = RegistryConfig(
        name="hub",
        registry="hub.example",
        auth=RegistryAuthConfig(type="basic", username="ann", password=VALUE),
    )
    async with runed(tmp_path / "data", "--config", str(config)) as server:
        before = config.read_bytes()
        await server.call(registries.add_registry, registries.AddRegistryRequest(registry=given))
        found = await server.call(registries.get_registry, registries.GetRegistryRequest(name="hub"))
        assert found.registry
        assert found.registry.auth
        assert found.registry.auth.username == "ann"
        assert VALUE not in repr(found)
        async with rest(server) as http:
            for path in ("/v1/admin/registries", "/v1/admin/registries/hub"):
                answer = await http.get(path)
                assert "hub.example" in answer.text
                assert VALUE not in answer.text
        assert config.read_bytes() == before
        forms = [VALUE.encode(), base64.b64encode(VALUE.encode()), base64.b64encode(f"ann:{VALUE}".encode())]
        clear = [
            path
            for path in tmp_path.rglob("*")
            if path.is_file() and any(form in path.read_bytes() for form in forms)
        ]
        assert clear == []


@promise("weak-spot.09")
@pytest.mark.parametrize("value", ["aGVsbG8=", "aGVsbG8gd29ybGQ=", "deadbeef", "e30="])
async def test_09_what_looks_like_base64_is_mounted_and_set_as_it_is(server: Runed, value: str) -> None:
    secret = secrets.Secret(name="key", data={"k": value})
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    script = 'echo "$k"; cat "$RUNE_MOUNTS/key/k"; echo; sleep 1000'
    await server.cast(
        "api",
        ["sh", "-c", script],
        env_from=[EnvFromSource(secret_name="key")],
        secret_mounts=[SecretMount(mount_path="key", secret_name="key")],
    )
    assert await server.lines("api", 2) == [value, value]
    revealed = await server.call(secrets.reveal, secrets.RevealSecretRequest(name="key"))
    assert revealed.secret
    assert revealed.secret.data == {"k": value}


@promise("weak-spot.16")
async def test_16_a_wrong_name_is_the_callers_mistake_and_never_internal(server: Runed) -> None:
    async def made(name: str) -> None:
        ask = namespaces.CreateNamespaceRequest(namespace=Namespace(name=name))
        await server.call(namespaces.create, ask)

    await made("prod")
    with pytest.raises(AlreadyExists):
        await made("prod")
    for reserved in ("default", "system"):
        with pytest.raises((AlreadyExists, InvalidArgument, FailedPrecondition)):
            await made(reserved)
    with pytest.raises(NotFound):
        await server.call(instances.get, instances.GetInstanceRequest(id="nothing"))
    async with rest(server) as http:
        assert (await http.post("/v1/namespaces", json={"name": "prod"})).status_code == 409
        missing = await http.get("/v1/namespaces/default/instances/nothing")
        assert missing.status_code == 404
