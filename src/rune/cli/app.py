"""The commands of `rune`, and what a failure looks like on a terminal.

A command's module is imported when the command is called, so that each pays for what it needs alone.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from rune.cli.state import State
from rune.cli.table import clean
from rune.errors import InvalidArgument, RuneError

COMMANDS: dict[str, tuple[str, str]] = {
    "cast": ("cast:cast", "Bring files and runesets to life: create or update what they declare."),
    "get": ("get:get", "Show services, instances, namespaces and everything else."),
    "logs": ("logs:logs", "Read what instances wrote, and follow it."),
    "exec": ("exec:exec_", "Run a command inside an instance."),
    "port-forward": ("port_forward:port_forward", "Reach a port of a service or an instance from here."),
    "scale": ("change:scale", "Set how many copies of a service run."),
    "rollback": ("change:rollback", "Make a service again what it was."),
    "revisions": ("change:revisions_", "List what a service was made from before."),
    "restart": ("change:restart", "Replace every copy of a service."),
    "stop": ("change:stop", "Stop every copy of a service, and keep the service."),
    "delete": ("delete:delete", "Delete a service or another resource."),
    "status": ("status:status", "See all services at a glance."),
    "top": ("top:top", "See what services and instances use of processors and memory."),
    "health": ("status:health", "See how services, instances or the node are."),
    "deps": ("deps:deps", "See who waits for whom."),
    "secret": ("secret:secret", "Change secrets, see their versions, and reveal them."),
    "create": ("create:create", "Create a namespace, a configmap or a secret."),
    "lint": ("lint:lint", "Check files and runesets without a server."),
    "pack": ("pack:pack", "Pack a runeset into one file."),
    "scan": ("scan:scan", "Look for threats in texts, files and folders, without a server."),
    "login": ("login:login", "Keep a server's address and a token for later commands."),
    "logout": ("login:logout", "End the session of the current context."),
    "passwd": ("passwd:passwd", "Change your own password."),
    "whoami": ("login:whoami", "See who the server takes you for."),
    "config": ("config:config", "See and change the contexts in ~/.rune/config.yaml."),
    "use-context": ("config:use_context", "Make a context the current one."),
    "agents": ("agents:agents", "Agents: list, register, quarantine."),
    "alerts": ("alerts:alerts", "Alerts, false positives and webhooks."),
    "approvals": ("approvals:approvals", "Tool calls that wait for a person: list, approve, deny."),
    "policy": ("policy:policy", "Security policies: write, test, replay, switch."),
    "events": ("events:events", "Security events, and figures over them."),
    "ui": ("ui:ui", "Open the dashboard in a browser, logged in."),
    "admin": ("admin:admin", "Users, policies, tokens, registries, API keys and the audit log."),
    "mcp": ("mcp:mcp", "Look at the MCP servers of assistants on this machine, and guard them."),
    "run": ("run:run", "Run a Python program with its model clients under a Shield, unchanged."),
    "dev": ("dev:dev", "Run a whole runed on a scratch folder until this command ends."),
    "completion": ("completion:completion", "Print the script that lets a shell complete commands."),
    "version": ("version:version", "Show the version of this command, and of the server."),
}
BROKEN_PIPE = 141
INTERRUPTED = 130
ALIASES = {"apply": "cast", "remove": "delete", "rm": "delete"}


class Commands(click.Group):
    """Commands by name, imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        return getattr(import_module(f"rune.cli.{module}"), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message.rstrip('.')}.{_nearest(args[0])}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _nearest(word: str) -> str:
    import difflib  # noqa: PLC0415 - only a slip needs it

    near = difflib.get_close_matches(word, [*COMMANDS, *ALIASES], n=1)
    return f" Did you mean `rune {near[0]}`?" if near else ""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try it: `rune dev` in one terminal, then `rune cast FILE` and `rune get services` in another.",
)
@click.option(
    "--server", metavar="ADDRESS", help="host:port for gRPC, or an http(s):// address. [RUNE_SERVER]"
)
@click.option("--context", metavar="NAME", help="The context to use instead of the current one.")
@click.option("--config", metavar="FILE", help="The file with the contexts. [RUNE_CLI_CONFIG]")
@click.option("--organization", metavar="NAME", help="Act in this organization. [RUNE_ORGANIZATION]")
@click.option("--insecure", is_flag=True, help="Send the token even where others could read it on its way.")
@click.pass_context
def rune(ctx: click.Context, *, insecure: bool, **given: str | None) -> None:
    """Run AI agents and any other service, and keep them safe."""
    ctx.obj = State(os.environ, insecure=insecure, **{name: value or "" for name, value in given.items()})


def run(args: list[str]) -> int:
    """Do what the arguments say; returns the exit code, failures are written to stderr."""
    try:
        outcome: Any = rune.main(args, prog_name="rune", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except RuneError as error:
        return _failed(error)
    except UnicodeEncodeError as error:
        return _failed(
            InvalidArgument(f"{clean(error.object)!r} is not UTF-8, which is all that a server takes")
        )
    except (BrokenPipeError, SystemExit):  # click turns the first into the second
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:  # a disk that is full, a file that may not be written
        click.echo(
            f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True
        )
        return RuneError.codes.exit
    return outcome if isinstance(outcome, int) else 0


def _failed(error: RuneError) -> int:
    from rune.cli.failures import explained  # noqa: PLC0415 - only failures need it

    click.echo(explained(error), err=True)
    return getattr(error, "exit_code", error.codes.exit)
