"""Logs of services and instances: merged in time, followed across restarts, never more held than a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from rune.api.orchestrator import instances as instance_api
from rune.api.orchestrator import logs as api
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.logs import LogRequest, LogResponse
from rune.core.access import rule
from rune.core.clock import EPOCH, ManualClock
from rune.core.store.base import Put
from rune.errors import InvalidArgument, NotFound, PermissionDenied
from rune.orchestrator.logs import Logs, level, moment, query_of
from rune.orchestrator.runners.fake import Script
from unit.orchestrator.plane import Plane, new_plane

SECOND = timedelta(seconds=1)


class Ticking(ManualClock):
    """Every look at the time takes a millisecond."""

    def now(self) -> datetime:
        self.advance(0.001)
        return super().now()


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    """Copies say `up` when they start."""
    plane = await new_plane(clock=Ticking())
    Logs(plane.store, {"process": plane.runner}, clock=plane.clock).register(plane.dispatcher)
    plane.runner.scripts["sleeper"] = Script(says=["up"])
    async with asyncio.timeout(10), plane.running():
        yield plane


async def read(plane: Plane, target: str, who: str = "root", **given: object) -> list[LogResponse]:
    ask = LogRequest(resource_target=target, **given)  # pyright: ignore[reportArgumentType] - fields by name
    return await plane.all(api.get, ask, who=who)


def texts(lines: Sequence[LogResponse]) -> list[str]:
    return [line.content for line in lines]


async def two_copies(plane: Plane) -> list[str]:
    await plane.serve("api", scale=2)
    await plane.until(lambda: len([item for item in plane.copies("api") if item.pid]) == 2)
    return [item.id for item in plane.copies("api")]


async def test_a_line_tells_where_it_comes_from(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    plane.runner.say(copy.id, "Request FAILED: 500", stream="stderr")
    line = (await read(plane, "api"))[-1]
    assert (line.service_name, line.instance_id, line.instance_name) == ("api", copy.id, copy.name)
    assert (line.content, line.stream, line.log_level) == ("Request FAILED: 500", "stderr", "error")
    assert line.timestamp
    assert line.timestamp > EPOCH


@pytest.mark.parametrize("form", ["{s}", "service/{s}", "svc/{s}", "{i}", "instance/{i}", "inst/{i}"])
async def test_every_form_of_a_target_is_understood(plane: Plane, form: str) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    assert texts(await read(plane, form.format(s="api", i=copy.id))) == ["up"]


@pytest.mark.parametrize(
    ("target", "failure", "message"),
    [
        ("", InvalidArgument, "must specify either service name or instance ID"),
        ("pod/api", InvalidArgument, "invalid resource target: 'pod/api'"),
        ("service/", InvalidArgument, "invalid resource target: 'service/'"),
        ("/api", InvalidArgument, "invalid resource target: '/api'"),
        ("web", NotFound, "service or instance not found: default/web"),
        ("svc/web", NotFound, "service not found: default/web"),
        ("inst/web", NotFound, "instance not found: default/web"),
    ],
)
async def test_a_target_that_is_none_is_named(
    plane: Plane, target: str, failure: type[Exception], message: str
) -> None:
    with pytest.raises(failure, match=message):
        await read(plane, target)


async def test_instances_are_merged_in_the_order_of_time(plane: Plane) -> None:
    one, two = await two_copies(plane)
    for number in range(50):
        plane.runner.say((one, two)[number % 2], f"n{number}")
    assert texts(await read(plane, "api"))[2:] == [f"n{number}" for number in range(50)]


async def test_the_tail_is_100_lines_of_each_unless_told_otherwise(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    plane.runner.say(copy.id, *(f"n{number}" for number in range(300)))
    assert len(await read(plane, "api")) == 100
    assert texts(await read(plane, "api", tail=2)) == ["n298", "n299"]
    assert len(await read(plane, "api", tail=-1)) == 301
    assert len(await read(plane, "api", since="1d")) == 301
    assert len(await read(plane, "api", since="1d", tail=7)) == 7


async def test_a_filter_keeps_what_contains_it_whatever_the_case(plane: Plane) -> None:
    await plane.serve("api")
    plane.runner.say((await plane.copy_of("api")).id, "GET /a", "get /b", "POST /c")
    assert texts(await read(plane, "api", filter="Get")) == ["GET /a", "get /b"]


async def test_lines_that_differ_in_their_text_alone_come_together_when_asked(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    at = plane.clock.now()
    for stream, text in (
        ("stdout", "a"),
        ("stdout", "b"),
        ("stdout", "error: c"),
        ("stderr", "d"),
        ("stderr", "e"),
    ):
        plane.runner.say(copy.id, text, stream=stream, at=at)
    answers = (await read(plane, "api", together=True))[1:]
    assert [(line.content, line.more) for line in answers] == [("a", ["b"]), ("error: c", []), ("d", ["e"])]
    assert [line.log_level for line in answers] == ["info", "error", "info"]
    alone = await read(plane, "api")
    assert texts(alone)[1:] == ["a", "b", "error: c", "d", "e"]
    assert not any(line.more for line in alone)


async def test_times_are_written_into_the_line_when_asked(plane: Plane) -> None:
    await plane.serve("api")
    await plane.copy_of("api")
    line = (await read(plane, "api", timestamps=True))[0]
    assert line.timestamp
    assert line.content == f"{line.timestamp.isoformat(timespec='microseconds')[:-6]}Z up"


async def test_since_and_until_cut_the_lines(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    plane.runner.say(copy.id, "a", "b", "c")
    at = {line.content: line.timestamp for line in await read(plane, "api")}
    assert at["b"]
    assert at["c"]
    assert texts(await read(plane, "api", since=at["b"].isoformat(), until=at["c"].isoformat())) == ["b"]


async def test_following_goes_on_across_a_restart(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    async with plane.stream(api.get, LogRequest(resource_target="api", follow=True)) as lines:
        assert (await anext(lines)).content == "up"
        plane.runner.say(copy.id, "working")
        assert (await anext(lines)).content == "working"
        await plane.call(instance_api.restart, instance_api.InstanceActionRequest(id=copy.id, force=True))
        again = await anext(lines)
    assert (again.content, again.instance_id) == ("up", copy.id)


async def test_following_meets_instances_that_start_later(plane: Plane) -> None:
    await plane.serve("api", scale=0)
    async with plane.stream(api.get, LogRequest(resource_target="api", follow=True)) as lines:
        first = asyncio.ensure_future(anext(lines))
        await plane.call(service_api.scale, service_api.ScaleServiceRequest(name="api", scale=1))
        assert (await first).content == "up"
        await plane.call(service_api.scale, service_api.ScaleServiceRequest(name="api", scale=3))
        later = [await anext(lines), await anext(lines)]
    assert len({line.instance_id for line in (await first, *later)}) == 3


async def test_following_ends_with_the_service(plane: Plane) -> None:
    await plane.serve("api")
    await plane.copy_of("api")
    async with plane.stream(api.get, LogRequest(resource_target="api", follow=True)) as lines:
        await anext(lines)
        await plane.call(service_api.delete, service_api.DeleteServiceRequest(name="api"))
        assert [line async for line in lines] == []


async def test_following_ends_when_its_time_has_come(plane: Plane) -> None:
    await plane.serve("api", scale=0)
    until = plane.clock.now() + timedelta(milliseconds=50)
    assert await read(plane, "api", follow=True, until=until.isoformat()) == []


async def test_an_instance_that_never_ran_has_no_lines(plane: Plane) -> None:
    plane.runner.scripts["sleeper"] = Script(refused="no such program")
    await plane.serve("api")
    await plane.until(lambda: any(item.streak for item in plane.copies("api")))
    assert await read(plane, "api") == []


async def test_logs_of_another_namespace_are_not_to_be_had(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("logs", ["get"], "shop"),)
    await plane.serve("api")
    copy = await plane.copy_of("api")
    with pytest.raises(PermissionDenied):
        await read(plane, copy.id, who="ann")
    with pytest.raises(NotFound):
        await read(plane, copy.id, who="ann", namespace="shop")


async def test_parameters_may_change_on_the_way(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    plane.runner.say(copy.id, "one", "two")
    asks: asyncio.Queue[LogRequest | None] = asyncio.Queue()

    async def later() -> AsyncGenerator[LogRequest]:
        while ask := await asks.get():
            yield ask

    asks.put_nowait(LogRequest(resource_target="api", follow=True, tail=1))
    async with plane.streaming(api.stream, later()) as lines:
        assert (await anext(lines)).content == "two"
        asks.put_nowait(LogRequest(parameter_update=True, tail=-1, filter="o"))
        assert [(await anext(lines)).content, (await anext(lines)).content] == ["one", "two"]
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def test_the_end_of_the_requests_is_not_the_end_of_the_lines(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    ask = LogRequest(resource_target="api", follow=True)
    async with plane.stream(api.stream, ask) as lines:
        assert (await anext(lines)).content == "up"
        plane.runner.say(copy.id, "more")
        assert (await anext(lines)).content == "more"


async def test_a_later_request_must_be_an_update(plane: Plane) -> None:
    await plane.serve("api")
    ask = LogRequest(resource_target="api", follow=True)
    with pytest.raises(InvalidArgument, match="must set parameter_update"):
        await plane.all(api.stream, ask, ask)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("250ms", 0.25), ("90s", 90)],
)
def test_a_time_may_be_told_by_how_long_ago_it_was(text: str, ago: float) -> None:
    assert moment(text, now=EPOCH) == EPOCH - timedelta(seconds=ago)


def test_a_time_may_be_of_any_zone() -> None:
    assert moment("2026-01-31T12:00:00Z", now=EPOCH) == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert moment("2026-01-31T12:00:00+02:00", now=EPOCH) == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert moment("", now=EPOCH) is None


@pytest.mark.parametrize(
    "text", ["yesterday", "10", "m", "-5m", "2026-01-31T12:00:00", "99999999999d", "10mx"]
)
def test_what_is_no_time_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        query_of(LogRequest(since=text, until=text), now=EPOCH)
    assert [violation.field for violation in caught.value.details] == ["since", "until"]


@pytest.mark.parametrize(
    ("text", "guess"),
    [("an Exception", "error"), ("WARNING: low", "warn"), ("ready", "info"), ("x" * 600 + "error", "info")],
)
def test_the_level_is_guessed(text: str, guess: str) -> None:
    assert level(text) == guess


async def test_a_reader_that_fell_behind_the_log_of_changes_goes_on(plane: Plane) -> None:
    await plane.serve("api")
    copy = await plane.copy_of("api")
    async with plane.stream(api.get, LogRequest(resource_target="api", follow=True)) as lines:
        await anext(lines)
        bystander = Instance(id="x", namespace="default", service_name="other")
        for _ in range(10_100):
            await plane.store.commit(Put(bystander))
            bystander = plane.store.get(Instance, "default", "x")
        plane.runner.say(copy.id, "still here")
        assert (await anext(lines)).content == "still here"
