"""What a copy of an agent is told: an endpoint that it can reach, a key of its own, and no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from rune.api.orchestrator.guard import ServiceAgent, ServiceGuard
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.core.apikeys import ApiKey
from rune.core.authority import Pass
from rune.core.clock import ManualClock
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM
from rune.errors import FailedPrecondition
from rune.orchestrator.introduction import Door, Endpoint, Introductions, Listening, endpoint_of
from rune.orchestrator.runners.base import Workload

BOT = ServiceAgent(id="bot", tags=["prod", "mail"])
SPEC = Service(name="bot", namespace="default", agent=BOT)
INSTANCE = Instance(id="bot-1", namespace="default", service_name="bot", attempt=1)


@pytest.mark.parametrize(
    ("listening", "url"),
    [
        (Listening(host="127.0.0.1", port=7861), "http://127.0.0.1:7861"),
        (Listening(host="", port=1), "http://127.0.0.1:1"),
        (Listening(host="::", port=1), "http://[::1]:1"),
        (Listening(host="10.0.0.5", port=1), "http://10.0.0.5:1"),
        (Listening(host="127.0.0.1", port=1, names=["localhost"]), "https://localhost:1"),
        (Listening(host="127.0.0.1", port=1, names=["runed.internal", "127.0.0.1"]), "https://127.0.0.1:1"),
        (Listening(host="", port=1, names=["*.x.org", "runed.x.org"]), "https://runed.x.org:1"),
    ],
)
def test_the_endpoint_is_where_the_door_is_under_a_name_of_its_certificate(
    listening: Listening, url: str
) -> None:
    assert endpoint_of(listening).url == url


def test_what_the_settings_say_goes_before_what_can_be_guessed() -> None:
    listening = Listening(host="127.0.0.1", port=1, names=["localhost"])
    assert endpoint_of(listening, url="https://r:2", ca_file="/ca").url == "https://r:2"


async def test_where_the_door_asks_for_certificates_a_start_has_one_of_its_own_that_names_nobody() -> None:
    def issue() -> Pass:
        issued.append(Pass(b"certificate", b"key"))
        return issued[-1]

    issued: list[Pass] = []
    listening = Listening(host="127.0.0.1", port=1, names=["localhost"], issue=issue)
    async with MemoryStore([Service, ApiKey]) as store:
        await guarded(store, ServiceGuard(agent_id="bot"))
        found = await introduced(store, endpoint=endpoint_of(listening))
        assert found.paths["RUNE_CERT_FILE"] == "rune-pass/pass.pem"
        (files,) = found.files
        assert files.is_secret
        assert files.content == {"pass.pem": b"certificate", "pass-key.pem": b"key"}
        outside = endpoint_of(listening, url="https://runed.internal:1")
        contained = await introduced(store, image="busybox", endpoint=outside)
        assert contained.env["RUNE_KEY_FILE"] == "/run/rune-agent/pass-key.pem"
        assert len(issued) == 2


async def introduced(store: MemoryStore, *, image: str = "", endpoint: Endpoint | None = None) -> Workload:
    """The workload of the agent as runners get it."""
    door = Door()
    door.opens(endpoint or Endpoint(url="http://127.0.0.1:7861"))
    made = Introductions(store, door, clock=ManualClock())
    return await made.introduced(Workload(instance="bot-1", image=image), INSTANCE, SPEC)


async def guarded(store: MemoryStore, guard: ServiceGuard | None) -> None:
    """The service as it is stored."""
    await store.commit(Put(Service(name="bot", namespace="default", agent=BOT, guard=guard)))


async def test_a_process_has_its_key_in_its_environment_and_the_store_has_the_hash() -> None:
    async with MemoryStore([Service, ApiKey]) as store:
        await guarded(store, ServiceGuard(agent_id="bot"))
        found = await introduced(store)
        (key,) = store.list(ApiKey, SYSTEM)
        text = found.env["RUNE_API_KEY"]
        assert text.startswith(key.prefix)
        assert text not in str(key.hash)
        assert (key.agent_id, key.instance, key.attempt) == ("bot", "default/bot-1", 1)
        assert found.env["RUNE_DEFAULT_AGENT_TAGS"] == "prod,mail"
        assert text not in repr(found)


async def test_the_same_start_asked_for_again_has_the_same_key() -> None:
    async with MemoryStore([Service, ApiKey]) as store:
        await guarded(store, ServiceGuard(agent_id="bot"))
        door = Door()
        door.opens(Endpoint(url="http://127.0.0.1:7861"))
        made = Introductions(store, door, clock=ManualClock())
        asked = Workload(instance="bot-1")
        first, again = [await made.introduced(asked, INSTANCE, SPEC) for _ in range(2)]
        assert first == again
        made.forget("bot-1")
        assert (await made.introduced(asked, INSTANCE, SPEC)).env != first.env


async def test_a_container_has_its_key_in_a_file_and_not_where_the_engine_writes_it_down(
    tmp_path: Path,
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("PEM", encoding="utf-8")
    async with MemoryStore([Service, ApiKey]) as store:
        await guarded(store, ServiceGuard(agent_id="bot"))
        endpoint = Endpoint(url="https://runed.internal:7861", ca_file=str(authority))
        found = await introduced(store, image="busybox", endpoint=endpoint)
    (files,) = found.files
    key = files.content["api-key"].decode()
    assert key.startswith("rune_live_")
    assert key not in str(dict(found.env))
    assert found.env["RUNE_API_KEY_FILE"] == "/run/rune-agent/api-key"
    assert files.content["ca.pem"] == b"PEM"


async def test_a_container_is_not_sent_to_its_own_loopback() -> None:
    async with MemoryStore([Service, ApiKey]) as store:
        await guarded(store, ServiceGuard(agent_id="bot"))
        with pytest.raises(FailedPrecondition, match=r"agents\.endpoint"):
            await introduced(store, image="busybox")


@pytest.mark.parametrize(
    "guard",
    [None, ServiceGuard(agent_id="bot", quarantined=True), ServiceGuard(agent_id="bot", waits="no policy")],
)
async def test_who_must_not_start_gets_no_key(guard: ServiceGuard | None) -> None:
    async with MemoryStore([Service, ApiKey]) as store:
        await guarded(store, guard)
        with pytest.raises(FailedPrecondition):
            await introduced(store)
        assert not store.list(ApiKey, SYSTEM)
