"""Handlers of logs: what a service's instances wrote, merged in time, and what they go on to write."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import msgspec

from rune.api.orchestrator import logs as api
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.logs import LogRequest, LogResponse
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Change, Store
from rune.errors import InvalidArgument, OutOfRange, Unimplemented, Violation
from rune.orchestrator import targets
from rune.orchestrator.copies import copies_of
from rune.orchestrator.feeds import Feeds
from rune.orchestrator.merge import Batch, Merge, Row
from rune.orchestrator.runners.base import HasLogs

DEFAULT_TAIL: Final = 100
AGO: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
ERRORS: Final = ("error", "exception", "failed", "fatal", "panic")
TELLING: Final = 512
"""Characters of a line that its level is guessed from."""

Lines = AsyncGenerator[list[LogResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A request in plain values."""

    follow: bool
    tail: int | None
    """None is all."""
    since: datetime | None
    until: datetime | None
    text: str
    """In lower case; only lines that contain it."""
    with_times: bool
    together: bool = False
    """Lines that differ in their text alone in one answer."""


class Origin(NamedTuple):
    """What lines may have in common."""

    instance: Instance
    at: datetime
    stream: str
    level: str


class Logs:
    """What can be done with logs. `runners` are those that keep what their instances wrote."""

    def __init__(self, store: Store, runners: Mapping[str, HasLogs], *, clock: Clock) -> None:
        self._store = store
        self._runners = runners
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.get)(self.get)
        dispatcher.handles(api.stream)(self.stream)

    async def get(self, call: Call, ask: LogRequest) -> AsyncIterator[LogResponse]:
        """The lines, then with `follow` what is written from now on."""
        async with aclosing(self._lines(call.namespace, ask)) as batches:
            async for batch in batches:
                for line in batch:
                    yield line

    async def stream(
        self, call: Call, ask: LogRequest, later: AsyncIterator[LogRequest]
    ) -> AsyncIterator[LogResponse]:
        """As `get`; a later request begins anew with its parameters, and its target if it names one."""
        feeds: Feeds[list[LogResponse] | LogRequest] = Feeds()
        try:
            feeds.open("requests", later)
            feeds.open("lines", self._lines(call.namespace, ask))
            while "lines" in feeds and (arrived := await feeds.take()):
                key, item = arrived
                if isinstance(item, LogRequest):
                    ask = _updated(ask, item)
                    await feeds.end("lines")
                    feeds.open("lines", self._lines(call.namespace, ask))
                for line in item if isinstance(item, list) else ():
                    yield line
                if item is not None:
                    feeds.more(key)
        finally:
            await feeds.close()

    async def _lines(self, namespace: str, ask: LogRequest) -> Lines:
        """Batches of lines that match."""
        if not ask.resource_target:
            raise InvalidArgument(
                "invalid log request: must specify either service name or instance ID or resource type/name"
            )
        query = query_of(ask, now=self._clock.now())
        async with aclosing(self._merged(namespace, ask.resource_target, query)) as batches:
            async for rows in batches:
                lines = list(_answers(rows, query))
                if lines:
                    yield lines

    def _merged(self, namespace: str, target: str, query: Query) -> AsyncGenerator[list[Row]]:
        revision = self._store.revision
        found = targets.find(self._store, namespace, target)

        def read(instance: Instance, is_new: bool) -> AsyncIterator[Batch]:  # noqa: FBT001 - as Merge calls it
            return self._runner(instance).logs(
                instance.id,
                follow=query.follow,
                tail=None if is_new else query.tail,
                since=query.since,
                until=query.until,
            )

        merge = Merge(read, follow=query.follow)
        for instance in self._instances(found):
            merge.add(instance)
        if query.follow:
            merge.add_arrivals(self._arrivals(found, revision, query.until))
        return merge.rows()

    def _instances(self, found: Service | Instance) -> Sequence[Instance]:
        if isinstance(found, Instance):
            return [found]
        return copies_of(self._store, found.namespace, found.name)

    def _runner(self, instance: Instance) -> HasLogs:
        runner = self._runners.get(instance.runner)
        if runner is None:
            raise Unimplemented(f"runner {instance.runner!r} of instance {instance.id} keeps no logs")
        return runner

    async def _arrivals(
        self, found: Service | Instance, after: int, until: datetime | None
    ) -> AsyncGenerator[Instance]:
        """The target's instances whenever they change, until it is deleted or the time has come."""
        changes = self._store.watch(after)
        while True:
            try:
                async with asyncio.timeout(self._seconds_to(until)):
                    change = await _next_about(found, changes)
            except TimeoutError:
                return
            except OutOfRange:  # this reader was slow: look at what there is now
                changes = self._store.watch(self._store.revision)
                for instance in self._instances(found):
                    yield instance
                continue
            for instance in _changed(change, found):
                yield instance
            if any(item.key == found.key and item.after is None for item in change.mutations):
                return

    def _seconds_to(self, until: datetime | None) -> float | None:
        return max((until - self._clock.now()).total_seconds(), 0.0) if until else None


def query_of(ask: LogRequest, *, now: datetime) -> Query:
    """The request in plain values; raises InvalidArgument with everything that is wrong with it."""
    violations: list[Violation] = []
    times: dict[str, datetime | None] = {}
    for name, text in (("since", ask.since), ("until", ask.until)):
        try:
            times[name] = moment(text, now=now)
        except (ValueError, OverflowError):
            what = f"{text!r} is neither a time as 2026-01-31T12:00:00Z nor how long ago, as 10m or 1h30m"
            violations.append(Violation(name, what))
    if violations:
        raise InvalidArgument.of(violations)
    tail = ask.tail or (-1 if ask.since else DEFAULT_TAIL)
    return Query(
        follow=ask.follow,
        tail=tail if tail > 0 else None,
        since=times["since"],
        until=times["until"],
        text=ask.filter.lower(),
        with_times=ask.timestamps,
        together=ask.together,
    )


def moment(text: str, *, now: datetime) -> datetime | None:
    """A time from RFC 3339 or from how long ago it was; raises ValueError or OverflowError for neither."""
    if not text:
        return None
    parts = AGO.findall(text)
    if parts and AGO.sub("", text) == "":
        return now - timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in parts))
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time needs its zone")
    return found.astimezone(UTC)


def level(text: str) -> str:
    """error, warn or info, guessed from the words."""
    words = text[:TELLING].lower()
    if any(word in words for word in ERRORS):
        return "error"
    return "warn" if "warn" in words else "info"


def _answers(rows: Sequence[Row], query: Query) -> Iterator[LogResponse]:
    """The lines that match: one in each answer, or together those that differ in their text alone."""
    found = _told(rows, query)
    if not query.together:
        yield from (_answer(told, []) for told in found)
        return
    for _, alike in groupby(found, key=itemgetter(0)):
        first, *more = alike
        yield _answer(first, [text for _, text in more])


def _told(rows: Sequence[Row], query: Query) -> Iterator[tuple[Origin, str]]:
    for _, instance, line in rows:
        text = line.text
        if query.text and query.text not in text.lower():
            continue
        content = f"{_stamp(line.at)} {text}" if query.with_times else text
        yield Origin(instance, line.at, line.stream, level(text)), content


def _answer(told: tuple[Origin, str], more: list[str]) -> LogResponse:
    origin, content = told
    return LogResponse(
        service_name=origin.instance.service_name,
        instance_id=origin.instance.id,
        instance_name=origin.instance.name,
        timestamp=origin.at,
        content=content,
        stream=origin.stream,
        log_level=origin.level,
        more=more,
    )


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _updated(before: LogRequest, now: LogRequest) -> LogRequest:
    if not now.parameter_update:
        raise InvalidArgument("a later request of the stream must set parameter_update")
    target = now.resource_target or before.resource_target
    return msgspec.structs.replace(now, resource_target=target)


async def _next_about(found: Service | Instance, changes: AsyncIterator[Change]) -> Change:
    """The next change of the target or of its instances; all others cost next to nothing."""
    async for change in changes:
        if any(item.key == found.key for item in change.mutations) or any(_changed(change, found)):
            return change
    raise AssertionError("a watch does not end by itself")


def _changed(change: Change, found: Service | Instance) -> Iterator[Instance]:
    for mutation in change.mutations:
        instance = mutation.after
        if not isinstance(instance, Instance) or instance.namespace != found.namespace:
            continue
        if found.key.name == (instance.service_name if isinstance(found, Service) else instance.id):
            yield instance
