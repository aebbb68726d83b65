"""Webhooks: signed, tried again, told of what they asked for, and kept out of private networks."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import MagicMock

import httpx
import msgspec
import pytest

from promises import promise
from rune.core.store.base import Put
from rune.core.vault import Rotation
from rune.errors import PermissionDenied
from rune.security import addresses, outbox, webhooks
from rune.security.addresses import client, is_public
from rune.security.kinds import SEALED, Delivery, Webhook, space
from secured import Secured, injection, secured

pytestmark = promise("security.webhooks")

PATIENCE = 10.0


class Receiver:
    """A server that keeps what is posted to it, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.url = ""
        self._changed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        pairs = (line.partition(": ") for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what came in makes it true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def receiving() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield receiver


@pytest.fixture
async def lenient() -> AsyncIterator[Secured]:
    async with secured(private=True) as plane:
        yield plane


async def hooked(http: httpx.AsyncClient, url: str, **more: Any) -> dict[str, str]:
    answer = await http.post("/v1/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


@promise("security.webhooks")
async def test_alerts_are_told_signed_with_the_secret_that_was_shown_once(lenient: Secured) -> None:
    async with lenient.client(await lenient.key()) as http, receiving() as receiver:
        made = await hooked(http, receiver.url)
        await http.post("/v1/events", json={"events": [injection()]})
        await receiver.until(lambda: len(receiver.got) == 1)
        known = msgspec.json.decode(receiver.got[0][1])["alert"]["_id"]
        await http.post("/v1/alerts/update", json={"alertId": known, "status": "investigating"})
        await receiver.until(lambda: len(receiver.got) == 2)
        listed = (await http.get("/v1/webhooks")).text
    assert [headers["x-rune-event"] for headers, _ in receiver.got] == ["alert.created", "alert.updated"]
    for headers, body in receiver.got:
        signed = headers["x-rune-timestamp"].encode() + b"." + body
        wanted = hmac.digest(made["secret"].encode(), signed, "sha256").hex()
        assert headers["x-rune-signature"] == f"sha256={wanted}"
    assert made["secret"] not in listed
    assert made["secret"] not in repr(lenient.store.list(Webhook))


@promise("security.webhooks-sealed")
async def test_a_secret_is_sealed_and_signs_on_after_its_key_was_rotated(lenient: Secured) -> None:
    async with lenient.client(await lenient.key()) as http, receiving() as receiver:
        made = await hooked(http, receiver.url, secret="planted-planted-planted")
        (hook,) = lenient.store.list(Webhook)
        assert made["secret"].encode() not in msgspec.msgpack.encode(hook)
        rotation = Rotation(lenient.store, lenient.vault, SEALED, clock=lenient.clock)
        assert await rotation.rotate() == (lenient.keyring.keys[0].id, 1)
        assert len(lenient.keyring.keys) == 1
        await http.post("/v1/events", json={"events": [injection()]})
        await receiver.until(lambda: len(receiver.got) == 1)
    headers, body = receiver.got[0]
    signed = headers["x-rune-timestamp"].encode() + b"." + body
    wanted = hmac.digest(b"planted-planted-planted", signed, "sha256").hex()
    assert headers["x-rune-signature"] == f"sha256={wanted}"


async def test_a_secret_that_was_moved_to_another_webhook_signs_nothing(lenient: Secured) -> None:
    async with lenient.client(await lenient.key()) as http, receiving() as receiver:
        await hooked(http, "http://127.0.0.1:9/")
        await hooked(http, receiver.url)
        one, other = sorted(lenient.store.list(Webhook), key=lambda hook: hook.url == receiver.url)
        await lenient.store.commit(Put(msgspec.structs.replace(other, sealed=one.sealed)))
        revision = lenient.store.revision
        await http.post("/v1/events", json={"events": [injection()]})
        async with asyncio.timeout(PATIENCE):
            changes = lenient.store.watch(revision)
            while "does not open" not in lenient.store.get(Webhook, *other.key[1:]).last_error:
                await anext(changes)
    assert receiver.got == []


async def test_a_delivery_that_fails_is_tried_again_until_it_arrives(lenient: Secured) -> None:
    async with lenient.client(await lenient.key()) as http, receiving() as receiver:
        receiver.statuses = [500]
        await hooked(http, receiver.url, events=["alert.created"])
        await http.post("/v1/events", json={"events": [injection()]})
        await receiver.until(lambda: len(receiver.got) == 2)
        assert receiver.got[0][0]["x-rune-delivery"] == receiver.got[1][0]["x-rune-delivery"]
        async with asyncio.timeout(PATIENCE):
            changes = lenient.store.watch(lenient.store.revision - 1)
            while lenient.store.list(Delivery):
                await anext(changes)
        (hook,) = (await http.get("/v1/webhooks")).json()["webhooks"]
    assert (hook["delivered"], hook["failed"], hook["lastError"]) == (1, 0, None)


async def test_what_a_webhook_did_not_ask_for_is_not_owed(lenient: Secured) -> None:
    async with lenient.client(await lenient.key()) as http:
        await hooked(http, "http://127.0.0.1:9/", events=["alert.updated"])
        await hooked(http, "http://127.0.0.1:9/", minSeverity="critical")
        mild = injection(risk=0.85)
        mild["scan_result"]["threats_detected"][0]["severity"] = "high"
        await http.post("/v1/events", json={"events": [mild]})
    assert not lenient.store.list(Delivery)


async def test_slack_gets_a_text_in_which_an_agents_name_pings_nobody(lenient: Secured) -> None:
    async with lenient.client(await lenient.key()) as http, receiving() as receiver:
        await hooked(http, receiver.url, slack=True)
        await http.post("/v1/events", json={"events": [injection("<!channel>")]})
        await receiver.until(lambda: len(receiver.got) == 1)
    text = msgspec.json.decode(receiver.got[0][1])["text"]
    assert text.startswith("*[critical]* Prompt injection detected on &lt;!channel&gt;")


async def test_a_webhook_into_this_machine_is_refused_and_says_so(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http, receiving() as receiver:
        await hooked(http, receiver.url.replace("127.0.0.1", "localhost"))
        revision = plane.store.revision
        await http.post("/v1/events", json={"events": [injection()]})
        async with asyncio.timeout(PATIENCE):
            changes = plane.store.watch(revision)
            while not plane.store.list(Webhook)[0].last_error:
                await anext(changes)
        (hook,) = (await http.get("/v1/webhooks")).json()["webhooks"]
    assert "private network" in hook["lastError"]
    assert receiver.got == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_everybodys_is_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_that_is_everybodys_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "http://[::1]:1/", "http://2130706433:1/", "http://0x7f.1:1/"]
)
async def test_every_spelling_of_this_machine_is_refused_before_anything_is_sent(url: str) -> None:
    async with client(allow_private=False, timeout=2.0) as http:
        with pytest.raises(PermissionDenied, match="private network"):
            await http.get(url)


async def answered(request: httpx.Request) -> httpx.Response:
    """One host sends a byte now and then, so that no single read takes too long."""
    if request.url.host == "drip.example":
        await asyncio.Event().wait()
    return httpx.Response(200)


@asynccontextmanager
async def dripping(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Secured]:
    carrier = httpx.AsyncClient(transport=httpx.MockTransport(answered))
    monkeypatch.setattr(addresses, "client", MagicMock(return_value=carrier))
    async with secured() as plane:
        yield plane


async def told(plane: Secured, organization: str) -> Webhook:
    """A webhook of the organization, as soon as something came of its message."""
    async with asyncio.timeout(PATIENCE / 2):
        changes = plane.store.watch(0)
        while True:
            for hook in plane.store.list(Webhook, space(organization)):
                if hook.delivered or hook.last_error:
                    return hook
            await anext(changes)


async def test_an_answer_that_never_ends_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold one of the few places for as long as it likes."""
    monkeypatch.setattr(webhooks, "SEND_SECONDS", 0.1)
    async with dripping(monkeypatch) as plane, plane.client(await plane.key()) as http:
        await hooked(http, "http://drip.example/")
        await http.post("/v1/events", json={"events": [injection()]})
        hook = await told(plane, "default")
    assert hook.last_error == "no answer within 0.1 seconds"


async def test_the_receivers_of_one_organization_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with dripping(monkeypatch) as plane:
        for key, url in ((await plane.organization("acme"), "drip"), (await plane.key(), "quick")):
            async with plane.client(key) as http:
                for _ in range(10):
                    await hooked(http, f"http://{url}.example/")
                await http.post("/v1/events", json={"events": [injection()]})
        hook = await told(plane, "default")
    assert hook.delivered == 1


async def test_many_alerts_at_once_are_owed_no_more_messages_than_may_wait(
    lenient: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST", 10)
    async with lenient.client(await lenient.key()) as http:
        for _ in range(3):
            await hooked(http, "http://127.0.0.1:9/")
        await http.post("/v1/events", json={"events": [injection(f"bot-{number}") for number in range(8)]})
        alerts = (await http.get("/v1/alerts")).json()["alerts"]
    assert len(alerts) == 8
    assert len(lenient.store.list(Delivery)) == 10
