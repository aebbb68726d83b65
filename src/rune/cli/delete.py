"""`rune delete`: asks before it destroys, then follows the deletion to its end."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from rune.api.common import EventType
from rune.api.orchestrator import deletions, services
from rune.cli import options
from rune.cli.confirm import confirm
from rune.cli.connect import connected
from rune.cli.derive import command_of
from rune.cli.live import Board, Line
from rune.cli.state import State
from rune.cli.views import BY_WORD
from rune.errors import DeadlineExceeded, FailedPrecondition

if TYPE_CHECKING:
    from rune.client.client import Client

KINDS = ("service", "namespace", "configmap", "secret")


class Delete(click.Group):
    """What is listed as its commands are those; anything else is a name to delete."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = (*self.commands, "-h", "--help")
        return super().parse_args(ctx, args if not args or args[0] in known else ["resource", *args])

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[TYPE] NAME [OPTIONS] | list | status | retry | force NAME")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [record for param in _delete.get_params(ctx) if (record := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(rows)
        self.format_commands(ctx, formatter)


@click.group(
    cls=Delete,
    epilog="Examples: rune delete api; rune delete namespace staging --force --yes; rune delete list",
)
def delete() -> None:
    """Delete a service, or with TYPE a namespace, a configmap or a secret."""


@delete.command("resource", hidden=True)
@click.argument("words", metavar="[TYPE] NAME", nargs=-1, required=True)
@options.namespace
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Kill the copies; of a namespace: delete what is in it too.")
@click.option("--detach", is_flag=True, help="Do not wait until it is gone; the same as --no-wait.")
@options.wait
@options.timeout("5m")
@click.option("--dry-run", is_flag=True, help="Check whether it could be deleted, and do nothing.")
@click.option("--now", is_flag=True, help="Kill the copies, without the time they are given to end.")
@click.option("--grace-period", type=options.DURATION, help="How long the copies may take to end.")
@click.option("--ignore-not-found", is_flag=True, help="It is fine when there is no such thing.")
@click.option("--no-dependencies", is_flag=True, help="Delete it although other services depend on it.")
@click.pass_obj
def _delete(state: State, words: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - click's way
    kind, names = _named(words)
    namespace = state.namespace(given["namespace"])
    where = "" if kind == "namespace" else f" in namespace {namespace}"
    if not given["dry_run"]:
        confirm(f"{kind} {', '.join(names)}{where}", yes=given["yes"])

    async def work(client: Client) -> None:
        for name in names:
            await _one(client, kind, name, namespace=namespace, given=given)

    connected(state, work)


def _named(words: tuple[str, ...]) -> tuple[str, list[str]]:
    view = BY_WORD.get(words[0]) if len(words) > 1 else None
    if view is None:
        return "service", list(words)
    if view.noun not in KINDS:
        raise click.UsageError(f"{view.plural} cannot be deleted so; see rune admin --help")
    return view.noun, list(words[1:])


async def _one(client: Client, kind: str, name: str, *, namespace: str, given: dict[str, Any]) -> None:
    operation = BY_WORD[kind].operation("delete")
    if kind == "service":
        await _service(client, name, namespace=namespace, given=given)
        return
    fields = {"name": name, "namespace": namespace, "force": given["force"]}
    fields["ignore_not_found"] = given["ignore_not_found"]
    taken = operation.request.__struct_fields__
    if given["dry_run"]:
        click.echo(f"{kind} {name!r} would be deleted")
        return
    request = operation.request(**{key: value for key, value in fields.items() if key in taken})
    await client.call(operation, request, timeout=given["timeout"])
    click.echo(f"{kind} {name!r} deleted")


async def _service(client: Client, name: str, *, namespace: str, given: dict[str, Any]) -> None:
    request = services.DeleteServiceRequest(
        name=name,
        namespace=namespace,
        force=given["force"],
        now=given["now"],
        detach=True,
        dry_run=given["dry_run"],
        grace_period=max(int(given["grace_period"] or 0), 0),
        ignore_not_found=given["ignore_not_found"],
        no_dependencies=given["no_dependencies"],
    )
    try:
        answer = await client.call(services.delete, request, timeout=given["timeout"])
    except FailedPrecondition as error:
        error.add_note(
            f"rune deps dependents {name} -n {namespace}; --no-dependencies deletes it all the same"
        )
        raise
    for line in (*answer.warnings, *answer.errors):
        click.echo(line, err=True)
    if given["dry_run"]:
        click.echo(f"service {name!r} would be deleted")
    elif not answer.deletion_id:
        click.echo(f"there is no service {name!r}")
    elif given["detach"] or not given["wait"]:
        click.echo(
            f"deletion {answer.deletion_id} of service {name!r} is under way: rune delete status {name}"
        )
    else:
        await _follow(client, answer.deletion_id, name, namespace=namespace, timeout=given["timeout"])
        click.echo(f"service {name!r} deleted")


async def _follow(client: Client, deletion: str, name: str, *, namespace: str, timeout: float) -> None:
    """Show how it goes until it has ended; raises DeadlineExceeded, and it goes on without us."""
    request = deletions.WatchDeletionsRequest(namespace=namespace, name=deletion)
    board = Board(sys.stderr, os.environ)
    try:
        async with asyncio.timeout(timeout), aclosing(client.stream(deletions.watch, request)) as changes:
            async for change in changes:
                operation = change.operation
                if operation is None or operation.end_time or change.event_type is EventType.DELETED:
                    return
                board.update([_line(operation)])
    except TimeoutError as error:
        failure = DeadlineExceeded(f"service {name!r} is not gone after {timeout:g} s")
        failure.add_note(f"rune delete status {name}; rune delete force {name} forgets it")
        raise failure from error


def _line(operation: deletions.DeletionOperation) -> Line:
    counted = f"{operation.deleted_instances}/{operation.total_instances} copies have ended"
    more = "  ".join(filter(None, (counted, operation.failure_reason)))
    return Line(operation.service_name, "Deleting", more)


for _row in (deletions.list_, deletions.get, deletions.retry, deletions.force):
    delete.add_command(command_of(_row))
