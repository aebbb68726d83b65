"""`rune top`: what services and instances use of processors and memory, measured over a moment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from rune.api.orchestrator import instances as api
from rune.cli import options, output
from rune.cli.connect import connected
from rune.cli.state import State
from rune.errors import NotFound

if TYPE_CHECKING:
    from rune.client.client import Client

AT_ONCE = 16
UNITS = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))
HOME = "\x1b[H\x1b[J"
"""The terminal, empty."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one service or instance uses."""

    namespace: str
    service: str
    instance: str = ""
    instances: int = 0
    cpu_percent: float
    """100 is one whole core."""
    mem_used_bytes: int
    mem_limit_bytes: int = 0
    """Of all its instances together; 0 where one of them has none."""


SORTS: dict[str, Callable[[Row], Any]] = {
    "cpu": lambda row: (-row.cpu_percent, row.namespace, row.service, row.instance),
    "memory": lambda row: (-row.mem_used_bytes, row.namespace, row.service, row.instance),
    "name": lambda row: (row.namespace, row.service, row.instance),
}


@click.command(epilog="Examples: rune top; rune top api --instances; rune top -A --sort memory --watch")
@click.argument("service", metavar="[SERVICE]", default="")
@options.namespace
@click.option("-A", "--all-namespaces", is_flag=True, help="Everything you may see.")
@click.option("--instances", is_flag=True, help="Each instance by itself.")
@click.option("--sort", type=click.Choice(list(SORTS)), default="cpu", help="What comes first. [cpu]")
@click.option("-w", "--watch", is_flag=True, help="Measure again and again, until you end it.")
@click.option(
    "--interval",
    type=options.Duration(3600.0),
    default="1s",
    help="How long processors are measured for. [1s]",
)
@options.output("table", "json", "yaml")
@click.pass_obj
def top(state: State, service: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """See what services, or their instances, use now. With --watch, -o json gives an array a line."""
    namespace = "*" if given["all_namespaces"] else state.namespace(given["namespace"])
    ask = api.ListInstancesRequest(namespace=namespace, service_name=service)
    connected(state, lambda client: _show(client, ask, given))


async def _show(client: Client, ask: api.ListInstancesRequest, given: dict[str, Any]) -> None:
    await measured(client, ask)  # the first look only begins the measurement
    while True:
        await asyncio.sleep(given["interval"])
        found = await measured(client, ask)
        rows = [row(item) for item in found] if given["instances"] else by_service(found)
        _print(sorted(rows, key=SORTS[given["sort"]]), given)
        if not given["watch"]:
            return


async def measured(client: Client, ask: api.ListInstancesRequest) -> Sequence[api.Instance]:
    """The instances that run, with what they use; one that has just ended is left out."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(item: api.Instance) -> api.Instance | None:
        async with turns:
            try:
                wanted = api.GetInstanceRequest(namespace=item.namespace, id=item.id)
                return (await client.call(api.get, wanted)).instance
            except NotFound:
                return None

    listed = (await client.call(api.list_, ask)).instances
    found = await asyncio.gather(*(one(item) for item in listed if item.pid or item.ready))
    return [item for item in found if item is not None and item.usage is not None]


def row(item: api.Instance) -> Row:
    """One instance."""
    usage = item.usage or api.InstanceUsage()
    return Row(
        namespace=item.namespace,
        service=item.service_name,
        instance=item.id,
        cpu_percent=round(usage.cpu_percent, 1),
        mem_used_bytes=usage.mem_used_bytes,
        mem_limit_bytes=usage.mem_limit_bytes,
    )


def by_service(found: Iterable[api.Instance]) -> list[Row]:
    """The sums of each service."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for item in found:
        groups.setdefault((item.namespace, item.service_name), []).append(row(item))
    return [
        Row(
            namespace=namespace,
            service=service,
            instances=len(rows),
            cpu_percent=round(sum(each.cpu_percent for each in rows), 1),
            mem_used_bytes=sum(each.mem_used_bytes for each in rows),
            mem_limit_bytes=_together([each.mem_limit_bytes for each in rows]),
        )
        for (namespace, service), rows in groups.items()
    ]


def _together(limits: Sequence[int]) -> int:
    return sum(limits) if all(limits) else 0


def amount(size: int) -> str:
    """Bytes as people write them: `64Mi`."""
    for unit, least in UNITS:
        if size >= least:
            return f"{size / least:.1f}{unit}".replace(".0", "")
    return str(size)


def _print(rows: Sequence[Row], given: dict[str, Any]) -> None:
    if given["output"] == "json" and given["watch"]:
        click.echo(output.as_json(rows))
        return
    if given["output"] != "table":
        output.write(msgspec.to_builtins(rows), given["output"])
        return
    if given["watch"] and sys.stdout.isatty():
        click.echo(HOME, nl=False)
    headings = ["SERVICE", "INSTANCE" if given["instances"] else "INSTANCES", "CPU", "MEMORY", "LIMIT"]
    cells = [
        [
            *([each.namespace] if given["all_namespaces"] else []),
            each.service,
            each.instance or str(each.instances),
            f"{each.cpu_percent:.1f}%",
            amount(each.mem_used_bytes),
            amount(each.mem_limit_bytes) if each.mem_limit_bytes else "-",
        ]
        for each in rows
    ]
    output.show_table(["NAMESPACE", *headings] if given["all_namespaces"] else headings, cells)
