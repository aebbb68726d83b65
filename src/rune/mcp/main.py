"""`rune-mcp`: serves one assistant over stdin and stdout until it goes away."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from rune.errors import RuneError
from rune.mcp.settings import Settings, settle, transport

MOST_MIB = 256
ABOUT = """Serve Rune to an assistant over MCP on stdin and stdout.

RUNE_SERVER and RUNE_TOKEN say where the server is and who you are; without them the current context of
`rune config` does. The assistant sees the tools that the token may use.

With --upstream it is a guard instead: it starts another MCP server and stands between it and the assistant.
RUNE_API_KEY and RUNE_ENDPOINT say where its events go and its policies come from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin ends; the exit code is that of the failure when it cannot begin."""
    options = _parser().parse_args(argv)
    try:
        if options.upstream is not None or options.upstream_url:
            return asyncio.run(_guard(options))
        settings = settle(os.environ, server=options.server, context=options.context)
        return asyncio.run(_serve(settings, options))
    except RuneError as error:
        print(f"rune-mcp: {error.message}", file=sys.stderr)  # noqa: T201 - a command
        return error.codes.exit
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rune-mcp", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", default="", help="host:port of gRPC, or the base URL of REST")
    parser.add_argument("--context", default="", help="a context of `rune config` instead of the current one")
    parser.add_argument("--read-only", action="store_true", help="offer nothing that changes anything")
    parser.add_argument(
        "--toolsets", default="", metavar="NAMES", help="some of orchestrator,admin,security; all when absent"
    )
    guard = parser.add_argument_group("as a guard of another server")
    guard.add_argument(
        "--upstream", nargs=argparse.REMAINDER, metavar="CMD ARGS…",
        help="start this server and stand before it; the last option, all that follows is the command",
    )  # fmt: skip
    guard.add_argument("--upstream-url", default="", metavar="URL", help="stand before a server at a URL")
    guard.add_argument(
        "--replaces", default="", help=argparse.SUPPRESS
    )  # a note of `rune mcp wrap` to itself
    guard.add_argument("--server-name", default="", metavar="NAME", help="what policies call the server")
    guard.add_argument("--policy", default="", metavar="FILE", help="a policy, or a folder of them")
    guard.add_argument(
        "--max-message-mib", type=_size, default=16, metavar="N", help="the longest message; 16 unless told"
    )
    parser.add_argument("--version", action="version", version=f"rune-mcp {release()}")
    return parser


def _size(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_MIB:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_MIB}")
    return int(text)


async def _guard(options: argparse.Namespace) -> int:
    from rune.mcp.proxy.start import Options, run  # noqa: PLC0415 - as below

    chosen = Options(
        command=tuple(options.upstream or ()),
        url=options.upstream_url,
        server_name=options.server_name,
        policy=options.policy,
        most_mib=options.max_message_mib,
    )
    return await run(chosen, os.environ)


async def _serve(settings: Settings, options: argparse.Namespace) -> int:
    # The SDK takes longer to import than all else together: a wrong option or context is told before.
    from mcp.server.stdio import stdio_server  # noqa: PLC0415 - see above

    from rune.client.client import Client  # noqa: PLC0415 - as above
    from rune.mcp.offers import Offer, chosen  # noqa: PLC0415 - as above
    from rune.mcp.server import build  # noqa: PLC0415 - it imports the SDK

    offer = Offer(toolsets=chosen(options.toolsets), read_only=options.read_only)
    async with Client(transport(settings)) as client:
        server = build(client, offer, version=release())
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    return 0


def release() -> str:
    """The version of the distribution; `0` in a tree that was never installed."""
    try:
        return version("runesec")
    except PackageNotFoundError:
        return "0"


if __name__ == "__main__":
    sys.exit(main())
