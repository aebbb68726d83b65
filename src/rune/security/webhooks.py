"""Webhooks: their handlers, and who delivers what they are owed, signed, with growing pauses."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from rune.api.resource import Key
from rune.api.security import webhooks as api
from rune.api.security.words import Deleted
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.reconcile import Worker
from rune.core.settle import settle
from rune.core.store.base import Delete, Put, Store, Write
from rune.core.vault import Place, Vault
from rune.errors import Closed, NotFound, OutOfRange, PermissionDenied, ResourceExhausted, RuneError
from rune.security.kinds import Delivery, Webhook, space
from rune.security.pages import Cursors, oldest_first

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

MOST: Final = 50
"""Webhooks of an organization."""
PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Seconds between tries; after the last one a message is given up."""
SEND_SECONDS: Final = 10.0
"""How long a webhook may take for all of its answer: others wait for the same few places."""
AT_ONCE: Final = 32
"""Messages that are sent at the same time."""
SHARE: Final = 4
"""Of them those of one organization: receivers that do not answer hold up nobody else's."""
TURN: Final = 1.0
"""Seconds, at most, before a message looks again whether its organization has room."""
SIGNATURE: Final = "x-rune-signature"
TIMESTAMP: Final = "x-rune-timestamp"


class Webhooks:
    """What can be done with webhooks."""

    def __init__(self, store: Store, vault: Vault, cursors: Cursors, *, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._cursors = cursors
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.create)(self.create)
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.delete)(self.delete)

    async def create(self, call: Call, ask: api.CreateWebhookRequest) -> api.CreateWebhookResponse:
        """A webhook; its secret is shown this once."""
        where = space(call.principal.organization)
        whk = f"whk_{self._clock.new_id().replace('-', '')}"
        secret = ask.secret or f"whsec_{secrets.token_urlsafe(32)}"

        def decide() -> list[Write]:
            if len(self._store.list(Webhook, where)) >= MOST:
                raise ResourceExhausted(f"there are {MOST} webhooks, the most there may be")
            return [Put(self._made(call, ask, id=whk, secret=secret))]

        async with self._vault.writing():
            await settle(self._store, decide, operation=call.operation.name)
        return api.CreateWebhookResponse(id=whk, secret=secret)

    def _made(self, call: Call, ask: api.CreateWebhookRequest, *, id: str, secret: str) -> Webhook:
        organization = call.principal.organization
        place = Place(Webhook.KIND, space(organization), id, 1)
        return Webhook(
            organization=organization,
            id=id,
            url=ask.url,
            events=sorted(set(ask.events)),
            min_severity=ask.min_severity,
            slack=ask.slack,
            sealed=self._vault.seal(secret.encode(), place),
            created_at=self._clock.now(),
        )

    async def list(self, call: Call, ask: api.ListWebhooksRequest) -> api.ListWebhooksResponse:
        """The webhooks, without their secrets."""
        found, cursor = self._cursors.page(
            call,
            self._store.list(Webhook, space(call.principal.organization)),
            lambda hook: oldest_first(hook.created_at, hook.id),
            limit=ask.limit,
            cursor=ask.cursor,
        )
        return api.ListWebhooksResponse(webhooks=list(map(_shown, found)), next_cursor=cursor)

    async def delete(self, call: Call, ask: api.DeleteWebhookRequest) -> Deleted:
        """Gone, and with it what was not delivered."""
        where = space(call.principal.organization)

        def decide() -> list[Write]:
            found = self._store.find(Webhook, where, ask.webhook_id)
            if found is None:
                raise NotFound(f"there is no webhook {ask.webhook_id!r}")
            owed = self._store.near(Delivery, where, f"{found.id}.")
            return [Delete(found.key, found.revision), *(Delete(each.key) for each in owed)]

        await settle(self._store, decide, operation=call.operation.name)
        return Deleted()


class Postman:
    """Delivers what webhooks are owed. A message arrives at least once, unless it is given up."""

    def __init__(
        self, store: Store, vault: Vault, client: Callable[[], httpx.AsyncClient], *, clock: Clock
    ) -> None:
        self._store = store
        self._vault = vault
        self._client = client
        self._http: httpx.AsyncClient | None = None
        self._clock = clock
        self._sending = Counter[str]()
        """By the space of the organization."""

    async def run(self) -> None:
        """Until it is cancelled or the store closes."""
        worker = Worker(self._reconcile, clock=self._clock, concurrency=AT_ONCE)
        try:
            async with asyncio.TaskGroup() as tasks:
                working = tasks.create_task(worker.run())
                await self._follow(worker)
                working.cancel()
        finally:
            if self._http:
                await self._http.aclose()

    async def _follow(self, worker: Worker) -> None:
        while True:
            try:
                await self._watch(worker)
            except OutOfRange:
                continue
            except Closed:
                return

    async def _watch(self, worker: Worker) -> None:
        position = self._store.revision
        for each in self._store.list(Delivery):
            await self._hand(worker, each.key)
        async for change in self._store.watch(position):
            fresh = (each.key for each in change.mutations if each.before is None)
            for key in fresh:
                if key.kind == Delivery.KIND:
                    await self._hand(worker, key)

    async def _hand(self, worker: Worker, key: Key) -> None:
        """Have it sent; with the first one comes the client, whose library and certificates take a while."""
        if self._http is None:
            self._http = await asyncio.to_thread(self._client)
        worker.look(key)

    async def _reconcile(self, key: Key) -> float | None:
        owed = self._store.find(Delivery, key.namespace, key.name)
        hook = self._store.find(Webhook, key.namespace, owed.webhook) if owed else None
        if owed is None or hook is None:
            return None
        if self._sending[key.namespace] >= SHARE:
            return TURN * (0.5 + self._clock.random() / 2)
        self._sending[key.namespace] += 1
        try:
            failure = await self._send(hook, owed)
        finally:
            self._sending[key.namespace] -= 1
        is_over = not failure or owed.attempts >= len(PAUSES)
        await settle(self._store, lambda: self._after(key, failure, is_over=is_over), operation="deliver")
        if failure and is_over:
            logger.warning("a webhook was given up", extra={"webhook": hook.id, "reason": failure})
        return None if is_over else PAUSES[owed.attempts] * (0.5 + self._clock.random() / 2)

    def _after(self, key: Key, failure: str, *, is_over: bool) -> list[Write]:
        owed = self._store.find(Delivery, key.namespace, key.name)
        hook = self._store.find(Webhook, key.namespace, owed.webhook) if owed else None
        if owed is None or hook is None:
            return []
        if not is_over:
            return [Put(replace(owed, attempts=owed.attempts + 1)), Put(replace(hook, last_error=failure))]
        counted = replace(
            hook,
            delivered=hook.delivered + (not failure),
            failed=hook.failed + bool(failure),
            last_error=failure,
        )
        return [Delete(owed.key), Put(counted)]

    async def _send(self, hook: Webhook, owed: Delivery) -> str:
        """Send it; returns why it did not arrive, empty when it did."""
        import httpx  # noqa: PLC0415 - loaded with the client

        assert self._http  # noqa: S101 - what is sent was handed over
        body = body_of(hook, owed)
        at = str(int(self._clock.now().timestamp()))
        try:
            secret = self._vault.open(hook.sealed, hook.place)
        except RuneError as error:
            return error.message
        headers = {
            "content-type": "application/json",
            "user-agent": "rune-webhooks",
            "x-rune-event": owed.event,
            "x-rune-delivery": owed.id,
            TIMESTAMP: at,
            SIGNATURE: signature(secret, at, body),
        }
        try:
            async with (
                asyncio.timeout(SEND_SECONDS),
                self._http.stream("POST", hook.url, content=body, headers=headers) as answer,
            ):
                return "" if answer.is_success else f"HTTP {answer.status_code}"
        except TimeoutError:
            return f"no answer within {SEND_SECONDS:g} seconds"
        except PermissionDenied as error:  # the address lies in a private network
            return error.message
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"{type(error).__name__}: {str(error)[:200]}"


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC of timestamp, dot and body."""
    return "sha256=" + hmac.digest(secret, timestamp.encode() + b"." + body, "sha256").hex()


def body_of(hook: Webhook, owed: Delivery) -> bytes:
    """What is sent: the alert, or the words that Slack shows."""
    if hook.slack:
        alert = owed.alert
        words = (
            f"*[{alert['severity']}]* {_escaped(alert['title'])} ({alert['status']}, {alert['occurrences']}×)"
        )
        return msgspec.json.encode({"text": words})
    created = round(owed.created_at.timestamp() * 1000) if owed.created_at else None
    content: dict[str, Any] = {"id": owed.id, "event": owed.event, "createdAt": created, "alert": owed.alert}
    return msgspec.json.encode(content)


def _escaped(text: str) -> str:
    """The title names an agent, which could otherwise ping a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shown(hook: Webhook) -> api.Webhook:
    return api.Webhook(
        id=hook.id,
        url=hook.url,
        events=hook.events,
        min_severity=hook.min_severity,
        slack=hook.slack,
        created_at=hook.created_at,
        delivered=hook.delivered,
        failed=hook.failed,
        last_error=hook.last_error or None,
    )
