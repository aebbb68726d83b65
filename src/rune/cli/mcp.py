"""`rune mcp`: the MCP servers of this machine's assistants: what they are, and a guard in front of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from rune.cli import options, output
from rune.cli.state import State
from rune.cli.table import clean
from rune.toolbox import hosts, pins, risks, wrap

FOUND = 6
LEVELS = ("high", "medium", "low")
FILES = click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
SERVER = click.option("--server", "only", metavar="NAME", multiple=True, help="Only this server; repeatable.")


@click.group(no_args_is_help=True, epilog="Examples: rune mcp scan; rune mcp wrap; rune mcp pins list")
def mcp() -> None:
    """Look at the MCP servers of assistants on this machine, and guard them."""


def _say(line: str) -> None:
    """A line; names and words of other people's servers tell a terminal nothing."""
    click.echo(clean(line))


def _configs(state: State, files: tuple[Path, ...]) -> list[hosts.Config]:
    """Those files that are named, or all that hosts on this machine have."""
    folder = Path.cwd()
    if files:
        return [hosts.load(hosts.named(path, state.environ, folder)) for path in files]
    return [hosts.load(place) for place in hosts.found(state.environ, folder)]


@mcp.command(
    epilog="Examples: rune mcp scan; rune mcp scan --connect -o json; rune mcp scan .vscode/mcp.json"
)
@FILES
@click.option("--connect", is_flag=True, help="Start or call the servers, and look at their tools too.")
@click.option("--insecure", is_flag=True, help="Call servers of other machines in plain text, too.")
@click.option("--fail-on", type=click.Choice([*LEVELS, "never"]), default="medium", show_default=True)
@options.output("text", "json")
@click.pass_obj
def scan(
    state: State, *, files: tuple[Path, ...], connect: bool, insecure: bool, fail_on: str, output: str
) -> int | None:
    """See which servers assistants start, with which tools and risks. Exit code 6 when there are any.

    Nothing is started without --connect: a server runs with your rights as soon as it is.
    """
    visit = partial(_tools, state, insecure=insecure) if connect else None
    found = [_file(config, visit) for config in _configs(state, files)]
    if output == "json":
        _write({"files": found})
    else:
        _show(found)
    levels = LEVELS[: LEVELS.index(fail_on) + 1] if fail_on in LEVELS else ()
    return FOUND if any(risk["level"] in levels for risk in _risks(found)) else None


def _write(plain: Any) -> None:  # noqa: ANN401 - plain data
    output.write(plain, "json")


Visit = Callable[[hosts.Entry], tuple[list[Any], str]]


def _file(config: hosts.Config, visit: Visit | None) -> dict[str, Any]:
    tools = {(entry.scope, entry.name): visit(entry) for entry in config.entries} if visit else {}
    return {
        "host": config.host,
        "path": str(config.path),
        "servers": [_server(entry, tools) for entry in config.entries],
    }


def _tools(state: State, entry: hosts.Entry, *, insecure: bool) -> tuple[list[Any], str]:
    from rune.toolbox import dial, remotes, visit  # noqa: PLC0415 - only who connects needs them

    command = wrap.upstream_of(entry)
    if not command:
        return dial.listed(wrap.url_of(entry), remotes.sent(entry), insecure=insecure)
    given = visit.its_own(entry.env) if wrap.is_wrapped(entry) else entry.env
    return visit.listed(command, {**visit.its_own(state.environ), **given})


Tools = dict[tuple[str, str], tuple[list[Any], str]]
"""What servers told of their tools, by scope and name: two projects may each have one of the same name."""


def _server(entry: hosts.Entry, tools: Tools) -> dict[str, Any]:
    found = [_plain(risk) for risk in risks.of_entry(entry)]
    listed, why = tools.get((entry.scope, entry.name), ([], ""))
    others = {
        name: [risks.name_of(tool) for tool in its]
        for (scope, name), (its, _) in tools.items()
        if name != entry.name and (not scope or entry.scope in ("", scope))
    }
    found += [{**_plain(risk), "tool": tool} for tool, risk in risks.of_tools(listed, others=others)]
    told: dict[str, Any] = {
        "name": entry.name,
        "scope": entry.scope,
        "command": risks.shown(wrap.upstream_of(entry)),
        "url": wrap.url_of(entry).partition("?")[0],
        "guarded": wrap.is_wrapped(entry),
        "risks": found,
    }
    if tools:
        told |= {"tools": [risks.name_of(tool) for tool in listed], "unreachable": why}
    return told


def _plain(risk: risks.Risk) -> dict[str, str]:
    return {"level": risk.level, "rule": risk.rule, "says": risk.says, "remedy": risk.remedy}


def _risks(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [risk for file in found for server in file["servers"] for risk in server["risks"]]


def _show(found: list[dict[str, Any]]) -> None:
    if not found:
        _say("no host on this machine has a file of MCP servers")
    for file in found:
        _say(f"{file['host']}: {file['path']}")
        for server in file["servers"]:
            what = " ".join(server["command"]) or server["url"] or "?"
            where = f" [{server['scope']}]" if server["scope"] else ""
            _say(f"  {server['name']}{where}: {what}{' (guarded)' if server['guarded'] else ''}")
            if server.get("unreachable"):
                _say(f"    not visited: {server['unreachable']}")
            if server.get("tools"):
                _say(f"    tools: {', '.join(server['tools'])}")
            for risk in server["risks"]:
                tool = f" {risk['tool']}" if "tool" in risk else ""
                remedy = f"; {risk['remedy']}" if risk["remedy"] else ""
                _say(f"    {risk['level']}{tool}: {risk['says']}{remedy}")


@mcp.command("wrap", epilog="Examples: rune mcp wrap; rune mcp wrap .mcp.json --server files --policy p.yaml")
@FILES
@SERVER
@click.option(
    "--policy", metavar="FILE", type=click.Path(exists=True, path_type=Path), help="A policy for them."
)
@click.option(
    "--command", "guard", metavar="PATH", help="The guard's command; this installation's if absent."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_obj
def wrap_(
    state: State, *, files: tuple[Path, ...], only: tuple[str, ...], policy: Path | None, guard: str | None,
    dry_run: bool,
) -> None:  # fmt: skip
    """Put the guard in front of servers, in the files of their hosts. A second time changes nothing.

    What was there is kept beside each file, with `.before-rune` after its name.
    """
    given = ["--policy", str(policy.resolve())] if policy else []
    for config in _configs(state, files):
        done = wrap.wrapped(config, guard=guard or _guard(), options=given, only=only)
        _did(config, done, "guarded", dry_run=dry_run)


@mcp.command(epilog="Example: rune mcp unwrap")
@FILES
@SERVER
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_obj
def unwrap(state: State, *, files: tuple[Path, ...], only: tuple[str, ...], dry_run: bool) -> None:
    """Take the guard away from servers again; all else in the files stays."""
    for config in _configs(state, files):
        _did(config, wrap.unwrapped(config, only=only), "not guarded any more", dry_run=dry_run)


def _did(config: hosts.Config, done: wrap.Done, what: str, *, dry_run: bool) -> None:
    _say(f"{config.host}: {config.path}")
    for name in done.changed:
        _say(f"  {name}: {what}{' (not written)' if dry_run else ''}")
    for name, why in done.left:
        _say(f"  {name}: left as it is, {why}")
    if done.changed and not dry_run:
        wrap.store(config, done.text)


def _guard() -> str:
    """By its whole path: hosts seldom have the PATH of a shell."""
    beside = Path(sys.executable).with_name("rune-mcp")
    return str(beside) if beside.exists() else shutil.which("rune-mcp") or "rune-mcp"


@mcp.group("pins", no_args_is_help=True, epilog="Examples: rune mcp pins list; rune mcp pins accept files")
def pins_() -> None:
    """See and accept the definitions of tools as they were first seen."""


@pins_.command("list", epilog="Example: rune mcp pins list")
@options.output("table", "json")
@click.pass_obj
def list_(state: State, *, output: str) -> None:
    """List the servers that were seen, and what waits to be accepted."""
    found = pins.servers(pins.folder_of(state.environ))
    rows: list[dict[str, Any]] = [
        {
            "key": key,
            "server": server.name,
            "upstream": server.upstream,
            "tools": len(server.tools),
            "waiting": sorted(name for name, pin in server.tools.items() if pin.waiting),
        }
        for key, server in found
    ]
    if output == "json":
        _write(rows)
        return
    for row in rows:
        waiting = f", waiting: {', '.join(row['waiting'])}" if row["waiting"] else ""
        _say(f"{row['key']}  {row['upstream']}  {row['tools']} tools{waiting}")


@pins_.command(epilog="Example: rune mcp pins show files read_file")
@click.argument("server")
@click.argument("tool", required=False)
@click.pass_obj
def show(state: State, *, server: str, tool: str | None) -> None:
    """Show what is trusted of a server's tools, and what waits, with the reason."""
    found = pins.read(pins.find(pins.folder_of(state.environ), server))
    for name, pin in (found.tools if found else {}).items():
        if tool not in (None, name) or (tool is None and pin.waiting is None):
            continue
        _say(f"{name}: {pin.why or 'trusted'}")
        for word, seen in (("trusted", pin.trusted), ("waiting", pin.waiting)):
            if seen is not None:
                _say(f"  {word} since {seen.at}: {seen.definition}")


@pins_.command(epilog="Examples: rune mcp pins accept files; rune mcp pins accept files read_file")
@click.argument("server")
@click.argument("tools", nargs=-1)
@click.pass_obj
def accept(state: State, *, server: str, tools: tuple[str, ...]) -> None:
    """Trust the definitions that wait: of these tools, or of all of the server's."""
    done = pins.accept(pins.find(pins.folder_of(state.environ), server), tools)
    _say(f"accepted: {', '.join(done)}" if done else "nothing waits to be accepted")


@pins_.command(epilog="Example: rune mcp pins forget files")
@click.argument("server")
@click.pass_obj
def forget(state: State, *, server: str) -> None:
    """Forget a server's tools: they are trusted as they are seen next."""
    path = pins.find(pins.folder_of(state.environ), server)
    pins.forget(path)
    _say(f"forgotten: {path.stem}")
