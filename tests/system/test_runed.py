"""A real runed, killed and started again: what runs goes on, and nothing that was said is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from promises import promise
from rune.api.orchestrator import admin, auth, services
from rune.api.orchestrator.specs import RestartPolicy, ServiceExpose, ServicePort
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.errors import FailedPrecondition, Unauthenticated, Unavailable
from runed import PATIENCE, Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

COUNTER = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


async def get(server: Runed, path: str) -> Any:
    def ask() -> Any:
        request = urllib.request.Request(
            f"http://{server.http}{path}", headers={"Authorization": f"Bearer {server.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    return await asyncio.to_thread(ask)


async def drained(changes: AsyncGenerator[Any]) -> None:
    async with asyncio.timeout(10):
        async for _ in changes:
            pass


@promise("work.logs", "work.outlive")
async def test_workloads_keep_their_pids_and_lines_when_runed_is_killed(server: Runed) -> None:
    await server.cast("counter", COUNTER, scale=2)
    await server.until_running("counter")
    before = {copy.id: copy.pid for copy in await server.copies("counter")}
    await server.lines("counter", 50)
    await server.end(signal.SIGKILL)
    assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
    await server.start("--dev")
    service = await server.until_running("counter")
    assert {copy.id: copy.pid for copy in service.instances} == before
    assert all(copy.metadata and copy.metadata.restart_count == 0 for copy in service.instances)
    (first, *_) = before
    lines = await server.lines(f"instance/{first}", 120)
    assert lines == [f"line {number}" for number in range(1, 121)]


async def test_what_died_while_runed_was_dead_is_replaced(server: Runed) -> None:
    await server.cast("sleeper", ["sleep", "1000"], scale=2)
    await server.until_running("sleeper")
    victim, other = await server.copies("sleeper")
    await server.end(signal.SIGKILL)
    os.kill(victim.pid, signal.SIGKILL)
    await server.start("--dev")
    service = await server.until(
        "sleeper", lambda seen: all(copy.ready and copy.pid != victim.pid for copy in seen.instances)
    )
    again = {copy.id: copy for copy in service.instances}
    assert again[other.id].pid == other.pid
    replaced = again[victim.id].metadata
    assert replaced
    assert replaced.restart_count == 1


async def test_a_job_that_ended_while_runed_was_dead_keeps_its_exit_code(
    server: Runed, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await server.cast("job", ["sh", "-c", f"read line < {gate}; exit 3"], restart_policy=RestartPolicy.NEVER)
    await server.until_running("job")
    await server.end(signal.SIGKILL)
    await asyncio.to_thread(gate.write_text, "go\n")
    await server.start("--dev")
    service = await server.until("job", lambda seen: seen.instances[0].exit_code is not None)
    assert service.instances[0].exit_code == 3


async def test_a_killed_copy_is_back_with_a_new_pid(server: Runed) -> None:
    await server.cast("sleeper", ["sleep", "1000"])
    copy = (await server.until_running("sleeper")).instances[0]
    os.kill(copy.pid, signal.SIGKILL)
    service = await server.until(
        "sleeper", lambda seen: seen.instances[0].ready and seen.instances[0].pid != copy.pid
    )
    assert service.instances[0].id == copy.id


async def test_a_watch_resumes_after_a_restart_with_nothing_lost_and_nothing_twice(server: Runed) -> None:
    ask = services.WatchServicesRequest()
    await server.cast("a", ["sleep", "1000"])
    await server.until_running("a")
    listed = await server.call(services.list_, services.ListServicesRequest())
    for name in ("b", "c"):
        await server.cast(name, ["sleep", "1000"])
        await server.until_running(name)
    await server.end(signal.SIGKILL)
    await server.start("--dev")
    revisions: list[int] = []
    added: list[str] = []
    ask = services.WatchServicesRequest(resume=listed.revision)
    async with asyncio.timeout(10), aclosing(server.client.stream(services.watch, ask)) as changes:
        async for change in changes:
            revisions.append(change.revision)
            if change.service and change.event_type is services.EventType.ADDED:
                added.append(change.service.name)
            if added == ["b", "c"]:
                break
    assert revisions == sorted(set(revisions))
    assert revisions[0] > listed.revision


async def test_a_folder_belongs_to_one_runed(server: Runed) -> None:
    second = Runed(server.folder)
    with pytest.raises(Unavailable, match="is in use by another process"):
        await second.start("--dev")


async def test_the_first_token_is_made_once(server: Runed) -> None:
    with pytest.raises(FailedPrecondition, match="was bootstrapped at"):
        await server.call(admin.bootstrap, admin.AdminBootstrapRequest())


async def test_a_token_is_revoked_at_once_also_for_open_streams(server: Runed) -> None:
    made = await server.call(
        auth.create_token, auth.CreateTokenRequest(subject_name="ann", policies=["readonly"])
    )
    async with Client(GrpcTransport(server.grpc, token=made.secret)) as ann:
        async with aclosing(ann.stream(services.watch, services.WatchServicesRequest())) as changes:
            await server.cast("a", ["sleep", "1000"])
            await anext(changes)
            await server.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id))
            with pytest.raises(Unauthenticated):
                await drained(changes)
        with pytest.raises(Unauthenticated):
            await ann.call(auth.whoami, auth.WhoAmIRequest())


async def test_grpc_and_rest_say_the_same(server: Runed) -> None:
    await server.cast("a", ["sleep", "1000"])
    over_grpc = await server.until_running("a")
    over_rest = (await get(server, "/v1/namespaces/default/services/a"))["service"]
    assert (over_rest["id"], over_rest["revision"]) == (over_grpc.id, str(over_grpc.revision))
    assert [copy["pid"] for copy in over_rest["instances"]] == [copy.pid for copy in over_grpc.instances]


@promise("rest.logs")
async def test_logs_that_are_followed_over_rest_go_on_as_lines_come(server: Runed) -> None:
    await server.cast("counter", COUNTER)
    headers = {"Authorization": f"Bearer {server.token}", "accept": "application/x-ndjson"}
    async with httpx.AsyncClient(base_url=f"http://{server.http}", headers=headers) as rest:
        path = "/v1/namespaces/default/logs/counter?follow=true&tail=-1"
        async with asyncio.timeout(PATIENCE), rest.stream("GET", path) as answer:
            lines = (json.loads(line)["result"]["content"] async for line in answer.aiter_lines() if line)
            said = [await anext(lines) for _ in range(200)]
    assert said == [f"line {number}" for number in range(1, 201)]


async def test_a_stop_by_signal_leaves_workloads_and_ends_cleanly(tmp_path: Path) -> None:
    server = Runed(tmp_path / "data")
    await server.start("--dev")
    await server.cast("sleeper", ["sleep", "1000"])
    pid = (await server.until_running("sleeper")).instances[0].pid
    await server.end(signal.SIGKILL)
    await server.start()  # not as a scratch server: its workloads outlive it
    assert await server.end(signal.SIGTERM) == 0
    assert Path(f"/proc/{pid}").exists()
    await server.start("--dev")
    assert await server.end(signal.SIGTERM) == 0
    assert not Path(f"/proc/{pid}").exists()


async def test_settings_that_are_wrong_are_all_named(tmp_path: Path) -> None:
    server = Runed(tmp_path / "data")
    with pytest.raises((Unavailable, urllib.error.URLError)) as caught:
        await server.start("--log-level", "loud")
    assert "server.log-level" in str(caught.value)


async def test_an_address_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Runed(tmp_path / "data")
        server.http = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="runed cannot run") as caught:
            await server.start("--dev")
    assert f"cannot listen for HTTP on {server.http}: Address already in use" in str(caught.value)
    assert "Traceback" not in str(caught.value)


async def test_a_service_that_is_exposed_where_the_server_listens_does_not_keep_it_from_starting(
    server: Runed,
) -> None:
    port = int(server.http.rpartition(":")[2])
    exposed = ServiceExpose(port="70", host_port=port)
    await server.cast("greedy", ["sleep", "3600"], ports=[ServicePort(port=70)], expose=exposed)
    await server.until_running("greedy")
    await server.end(signal.SIGKILL)
    await server.start("--dev")
    answer = await server.call(services.get, services.GetServiceRequest(name="greedy"))
    assert answer.service
    assert answer.service.exposure
    assert answer.service.exposure.message == f"this server itself listens on {server.http}"
