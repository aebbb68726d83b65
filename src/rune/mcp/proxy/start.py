"""Puts a proxy together from options and the environment, and runs it until one side ends."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol
from urllib.parse import urlsplit

from rune.core.clock import Clock, SystemClock
from rune.errors import InvalidArgument, RuneError, Violation
from rune.mcp.proxy import lines
from rune.mcp.proxy.child import Child
from rune.mcp.proxy.lines import Lane, Pipes
from rune.mcp.proxy.listing import Listing
from rune.mcp.proxy.relay import Relay
from rune.mcp.proxy.warden import Warden
from rune.shield.shield import Shield
from rune.toolbox import judge, visit
from rune.toolbox.pins import Pins, folder_of

RUNNERS = frozenset(
    {"npx", "uvx", "bunx", "pnpm", "yarn", "npm", "node", "python", "python3", "uv", "docker", "deno"}
)
"""Commands that say nothing of the server that they run."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a proxy is started with."""

    command: Sequence[str] = ()
    """The server to start; empty for one at a URL."""
    url: str = ""
    server_name: str = ""
    policy: str = ""
    most_mib: int = lines.MOST_MIB

    @property
    def upstream(self) -> tuple[str, ...]:
        """What the server is known by."""
        return (self.url,) if self.url else tuple(self.command)

    @property
    def name(self) -> str:
        """The name that policies know the server by."""
        return self.server_name or guessed(self.upstream)


class Upstream(Protocol):
    """A server behind the proxy."""

    @property
    def lane(self) -> Lane:
        """Its side."""
        ...

    async def wait(self) -> int:
        """Returns at its end, with the exit code that ours shall be."""
        ...

    async def stop(self) -> None:
        """Ends it."""
        ...

    def signal(self, number: int) -> None:
        """Passes a signal on."""
        ...


def say(text: str) -> None:
    """One line on stderr, where hosts keep their logs."""
    print(f"rune-mcp: {text}", file=sys.stderr, flush=True)  # noqa: T201 - a command


def guessed(upstream: Sequence[str]) -> str:
    """A name for a server whose name nobody said: of its package, its program or its host."""
    if upstream and "://" in upstream[0]:
        return urlsplit(upstream[0]).hostname or "server"
    for word in upstream:
        stem = PurePath(word.rpartition("@")[0] or word).name if "@" in word[1:] else PurePath(word).name
        if not word.startswith("-") and stem not in RUNNERS and stem not in ("run", "exec", "dlx", "x"):
            return stem.removesuffix(".py").removesuffix(".js") or "server"
    return PurePath(upstream[0]).name if upstream else "server"


async def run(options: Options, environ: Mapping[str, str]) -> int:
    """The proxy's whole life; the exit code is the server's where that ended first. Raises RuneError."""
    if not options.upstream:
        raise InvalidArgument.of(
            [Violation("--upstream", "names the server's command, or use --upstream-url")]
        )
    clock = SystemClock()
    warmed = asyncio.ensure_future(asyncio.to_thread(judge.warm))  # awaited below, whatever happens
    shield = shield_for(options, environ)
    try:
        client = await lines.standard(most=options.most_mib << 20)
        async with _upstream(options, environ) as upstream:
            await warmed
            gc.freeze()  # what is there by now stays: a collection in the midst of a call would be felt
            return await _relay(client, upstream, _warden(options, environ, shield, clock=clock))
    finally:
        await asyncio.gather(warmed, return_exceptions=True)
        await shield.aclose(FLUSH_SECONDS)


def shield_for(options: Options, environ: Mapping[str, str]) -> Shield:
    """The Shield that `RUNE_…` describes; without a key it works alone and sends no events."""
    given: dict[str, Any] = {"default_agent_id": agent_of(options, environ)}
    if options.policy:
        given["local_policies_path"] = options.policy
    if not environ.get("RUNE_API_KEY", "") and not environ.get("RUNE_EVENTS_ENABLED", ""):
        say("RUNE_API_KEY is not set: local policies alone, and no events are sent")
        given["events_enabled"] = False
    return Shield(**given)


def agent_of(options: Options, environ: Mapping[str, str]) -> str:
    """The agent that events name."""
    named = environ.get("RUNE_DEFAULT_AGENT_ID", "") or environ.get("RUNE_AGENT_ID", "")
    return named or f"mcp-{options.name}"


def _warden(options: Options, environ: Mapping[str, str], shield: Shield, *, clock: Clock) -> Warden:
    context = {"server": options.name, "session_id": clock.new_id(), "framework": "mcp"}
    pins = Pins(
        folder_of(environ),
        options.name,
        options.upstream,
        now=lambda: clock.now().isoformat(timespec="seconds"),
    )
    return Warden(shield, Listing(shield, pins, context=context, say=say), context=context)


@asynccontextmanager
async def _upstream(options: Options, environ: Mapping[str, str]) -> AsyncGenerator[Upstream]:
    if options.url:
        from rune.mcp.proxy.remote import connected  # noqa: PLC0415 - loads the SDK, which takes seconds

        async with connected(options.url, environ, most=options.most_mib << 20) as remote:
            yield remote
        return
    child = await Child.start(options.command, visit.its_own(environ), most=options.most_mib << 20)
    try:
        yield child
    finally:
        await child.close()


async def _relay(client: Pipes, upstream: Upstream, warden: Warden) -> int:
    """Until the client ends, the server does, or a signal says so."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, _passed_on, upstream, stop, number)
    relay = Relay(client, upstream.lane, warden, say=say)
    upward = asyncio.ensure_future(relay.upward())
    downward = asyncio.ensure_future(relay.downward())
    stopped = asyncio.ensure_future(stop.wait())
    parts = (upward, downward, stopped)
    try:
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        return await _ended(relay, upstream, upward=upward, downward=downward)
    finally:
        for part in parts:
            part.cancel()
        for result in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(result, RuneError):
                say(result.message)


async def _ended(
    relay: Relay, upstream: Upstream, *, upward: asyncio.Future[None], downward: asyncio.Future[None]
) -> int:
    """What follows the first end, and the exit code."""
    for part in (upward, downward):
        if part.done() and (error := part.exception()):
            return await _failed(relay, error)
    if not downward.done():
        await _rest(upstream, downward)
        return 0
    code = await upstream.wait()
    if not upward.done():
        how = f"with exit code {code}" if code else "by itself"
        say(f"the server ended {how}")
        await relay.abandon(f"the server ended {how}")
    return code


async def _failed(relay: Relay, error: BaseException) -> int:
    """One direction cannot go on; raises what nobody expected, once those who wait were told."""
    if isinstance(error, ConnectionError):
        return 0  # the client reads no more
    told = error.message if isinstance(error, RuneError) else "the guard failed; its log says how"
    await relay.abandon(told)
    if isinstance(error, RuneError):
        return error.codes.exit
    raise error


async def _rest(upstream: Upstream, downward: asyncio.Future[None]) -> None:
    """What the server still has to say after its input ended; then it is stopped."""
    stopping = asyncio.ensure_future(upstream.stop())
    await asyncio.wait((downward, stopping), return_when=asyncio.ALL_COMPLETED)
    await stopping


def _passed_on(upstream: Upstream, stop: asyncio.Event, number: int) -> None:
    upstream.signal(number)
    stop.set()
