"""`rune scale`, `rollback`, `restart` and `stop`: changes of what runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from rune.api.orchestrator import instances, revisions, services
from rune.api.orchestrator.scaling import ScalingMode
from rune.cli import options
from rune.cli.connect import connected
from rune.cli.derive import command_of
from rune.cli.live import Board
from rune.cli.rollout import wait_for
from rune.cli.state import State
from rune.cli.targets import Target, target

if TYPE_CHECKING:
    from rune.client.client import Client


MODES = {"immediate": ScalingMode.IMMEDIATE, "gradual": ScalingMode.GRADUAL}


@click.command(epilog="Examples: rune scale api 5; rune scale api 20 --mode gradual --step 2 --interval 10s")
@click.argument("name")
@click.argument("scale", type=click.IntRange(0, 10_000))
@options.namespace
@click.option("--mode", type=click.Choice(list(MODES)), default="immediate", help="At once, or by steps.")
@click.option("--step", type=click.IntRange(1, 10_000), help="gradual: copies at a time; 1 unless given.")
@click.option("--interval", type=options.DURATION, help="gradual: from step to step; 30s unless given.")
@click.option("--rollback-on-fail", is_flag=True, help="Return to the scale before when new copies fail.")
@options.wait
@options.timeout("5m")
@click.pass_obj
def scale(state: State, name: str, scale: int, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Set how many copies of the service NAME run. A gradual scaling always returns when copies fail."""
    if given["mode"] == "immediate" and (given["step"] or given["interval"]):
        raise click.UsageError("--step and --interval go with --mode gradual")
    request = services.ScaleServiceRequest(
        name=name,
        namespace=state.namespace(given["namespace"]),
        scale=scale,
        mode=MODES[given["mode"]],
        step_size=given["step"] or 0,
        interval_seconds=max(round(given["interval"]), 1) if given["interval"] else 0,
        rollback_on_fail=given["rollback_on_fail"],
    )

    async def work(client: Client) -> None:
        answer = await client.call(services.scale, request)
        await _settle(client, answer.service, f"service {name!r} has a scale of {scale} now", given=given)

    connected(state, work)


revisions_ = command_of(revisions.list_)


@click.command(epilog="Examples: rune rollback api; rune rollback api --to 3; rune revisions api")
@click.argument("name", metavar="SERVICE")
@options.namespace
@click.option("--to", type=click.IntRange(1), help="The revision; the newest good one unless given.")
@options.wait
@options.timeout("5m")
@click.pass_obj
def rollback(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Make SERVICE again what it was; its scale stays as it is."""
    request = revisions.RollbackServiceRequest(
        name=name, namespace=state.namespace(given["namespace"]), to=given["to"] or 0
    )

    async def work(client: Client) -> None:
        answer = await client.call(revisions.rollback, request)
        if answer.revision == answer.from_revision:
            click.echo(f"service {name!r} says what revision {answer.to_revision} says already")
            return
        words = f"service {name!r} is as in revision {answer.to_revision}, as revision {answer.revision}"
        await _settle(client, answer.service, words, given=given)

    connected(state, work)


@click.command(epilog="Examples: rune restart api; rune restart api-instance-1f2e3d4c")
@click.argument("target", metavar="TARGET")
@options.namespace
@options.wait
@options.timeout("10m")
@click.pass_obj
def restart(state: State, target: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Replace every copy of a service, or start one instance again."""
    where, namespace = _target(target), state.namespace(given["namespace"])

    async def work(client: Client) -> None:
        if where.kind == "instance":
            await _act(client, instances.restart, where, namespace=namespace)
            return
        await client.call(
            services.restart, services.RestartServiceRequest(name=where.name, namespace=namespace)
        )
        request = services.GetServiceRequest(name=where.name, namespace=namespace)
        answer = await client.call(services.get, request)
        await _settle(
            client,
            answer.service,
            f"service {where.name!r} {'restarted' if given['wait'] else 'is being restarted'}",
            given=given,
        )

    connected(state, work)


@click.command(epilog="Examples: rune stop api; rune stop api-instance-1f2e3d4c")
@click.argument("target", metavar="TARGET")
@options.namespace
@options.wait
@options.timeout("5m")
@click.pass_obj
def stop(state: State, target: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Stop every copy of a service, or one instance; `rune scale` or `rune restart` brings them back."""
    where, namespace = _target(target), state.namespace(given["namespace"])

    async def work(client: Client) -> None:
        if where.kind == "instance":
            await _act(client, instances.stop, where, namespace=namespace)
            return
        request = services.ScaleServiceRequest(name=where.name, namespace=namespace, scale=0)
        answer = await client.call(services.scale, request)
        words = f"service {where.name!r} is stopped; rune scale {where.name} N starts it again"
        await _settle(client, answer.service, words, given=given)

    connected(state, work)


_target = target


async def _settle(
    client: Client, service: services.Service | None, words: str, *, given: dict[str, Any]
) -> None:
    if service is not None and given["wait"]:
        await wait_for(client, [service], Board(sys.stderr, os.environ), timeout=given["timeout"])
    click.echo(words)


async def _act(client: Client, operation: Any, where: Target, *, namespace: str) -> None:  # noqa: ANN401 - one of the instance's actions
    await client.call(
        operation, instances.InstanceActionRequest(id=where.name, namespace=namespace), timeout=120.0
    )
    past = {"restart": "restarted", "stop": "stopped"}[operation.name.partition("_")[0]]
    click.echo(f"instance {where.name} {past}")
