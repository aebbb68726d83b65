"""Resources on their way to the server: what others stand on first, and a full account of a failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from rune.api.orchestrator import configmaps, namespaces, secrets, services
from rune.client.client import Client
from rune.errors import AlreadyExists, NotFound, PermissionDenied, RuneError, Unimplemented
from rune.manifest.documents import KINDS, Item
from rune.manifest.graph import needs

AT_ONCE = 64
"""How many calls are open at the same time."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for besides the files."""

    tag: str = ""
    force: bool = False
    create_namespace: bool = False


class Sent(msgspec.Struct, frozen=True):
    """One resource as the server has it now."""

    item: Item
    answer: Any
    outcome: str
    """`created`, `updated` or `unchanged`."""

    def __str__(self) -> str:
        return f"{self.item.label} {self.outcome}"


Create = Callable[[], Awaitable[Any]]
"""Gives the answer of the call that creates a resource."""


def send(client: Client, items: Sequence[Item], order: Order) -> Awaitable[list[Sent]]:
    """Create or update everything; raises with what failed, what was done before, and what was not sent.

    The first resources are on their way when this returns, before it is awaited.
    """
    left = list(waves(items))
    begun = {id(item): client.begin(*_requests(item, order)[0]) for item in left[0][:AT_ONCE]}
    return _sent(client, left, order, begun=begun)


async def _sent(
    client: Client, left: list[list[Item]], order: Order, *, begun: dict[int, Create]
) -> list[Sent]:
    done: list[Sent] = []
    while left:
        wave = left.pop(0)
        sent, failures = await _at_once(client, wave, order, begun=begun)
        done += sent
        if failures:
            raise _told(failures, done, [item for later in left for item in later])
    return done


def waves(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Namespaces, configmaps, secrets, then services by what they wait for; each wave may be sent at once."""
    for kind in KINDS:
        if kind != "service":
            wave = [item for item in items if item.kind == kind]
            if wave:
                yield wave
    left = [item for item in items if item.kind == "service"]
    while left:
        names = {(item.model.namespace or "default", item.model.name) for item in left}
        wave = [item for item in left if not any(needed in names for needed in needs(item.model))]
        wave = wave or left  # what waits in a circle is refused by the check before, and by the server
        yield wave
        left = [item for item in left if all(item is not sent for sent in wave)]


async def _at_once(
    client: Client, items: Sequence[Item], order: Order, *, begun: dict[int, Create]
) -> tuple[list[Sent], list[tuple[Item, RuneError]]]:
    import asyncio  # noqa: PLC0415 - 20 ms, while what was begun is on its way

    gate = asyncio.Semaphore(AT_ONCE)
    failures: list[tuple[Item, RuneError]] = []

    async def one(item: Item) -> Sent | None:
        async with gate:
            try:
                return await _upsert(client, item, order, begun=begun.get(id(item)))
            except RuneError as error:
                failures.append((item, error))
                return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [sent for task in tasks if (sent := task.result())], failures


async def _upsert(client: Client, item: Item, order: Order, *, begun: Create | None) -> Sent:
    create, update = _requests(item, order)
    answer = begun or partial(client.call, *create)
    try:
        return Sent(item, await answer(), "created")
    except AlreadyExists:
        if update is None:
            return Sent(item, None, "unchanged")
        before = await _before(client, item)
        answer = await client.call(*update)
        is_same = before is not None and _mark(before, item.kind) == _mark(answer, item.kind)
        return Sent(item, answer, "unchanged" if is_same else "updated")


async def _before(client: Client, item: Item) -> Any:  # noqa: ANN401 - the answer of any get
    """What is there; None for those who may change it and not read it."""
    operation, request = _GET[item.kind]
    try:
        return await client.call(operation, request(name=item.model.name, namespace=item.model.namespace))
    except (NotFound, PermissionDenied, Unimplemented):
        return None


_GET: dict[str, tuple[Any, Any]] = {
    "service": (services.get, services.GetServiceRequest),
    "configmap": (configmaps.get, configmaps.GetConfigmapRequest),
    "secret": (secrets.get, secrets.GetSecretRequest),
}


def _mark(answer: Any, kind: str) -> Any:  # noqa: ANN401 - as _before
    """What moves when the server takes a change: a service's generation, the version of what holds data."""
    model = getattr(answer, kind)
    return model.metadata and model.metadata.generation if kind == "service" else model.version


def _requests(item: Item, order: Order) -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    """The call that creates it, and the one that updates it; a namespace that is there stays as it is."""
    model, ensure = item.model, order.create_namespace
    match item.kind:
        case "service":
            create = services.CreateServiceRequest(
                service=model, deployment_tag=order.tag, ensure_namespace=ensure
            )
            update = services.UpdateServiceRequest(service=model, deployment_tag=order.tag, force=order.force)
            return (services.create, create), (services.update, update)
        case "configmap":
            create = configmaps.CreateConfigmapRequest(configmap=model, ensure_namespace=ensure)
            return (configmaps.create, create), (
                configmaps.update,
                configmaps.UpdateConfigmapRequest(configmap=model),
            )
        case "secret":
            create = secrets.CreateSecretRequest(secret=model, ensure_namespace=ensure)
            return (secrets.create, create), (secrets.update, secrets.UpdateSecretRequest(secret=model))
        case _:
            return (namespaces.create, namespaces.CreateNamespaceRequest(namespace=model)), None


def _told(failures: list[tuple[Item, RuneError]], done: Sequence[Sent], left: Sequence[Item]) -> RuneError:
    """One failure of the first one's class: what happened to each, where it stands, and how far it got."""
    lines: list[str] = []
    for item, error in failures:
        if error.details:
            lines += [
                str(item.problem(v.field.partition(".")[2] or v.field, v.description)) for v in error.details
            ]
        else:
            lines.append(f"{item.spot}: {item.label}: {error.message}")
    lines = list(dict.fromkeys(lines))
    changed = [str(sent) for sent in done if sent.outcome != "unchanged"]
    lines.append(f"done before: {', '.join(changed) or 'nothing'}")
    if left:
        lines.append(f"not sent: {', '.join(item.label for item in left)}")
    failure = type(failures[0][1])("\n".join(lines))
    if changed:
        failure.add_note("mend it and cast again: what is there already stays as it is")
    return failure
