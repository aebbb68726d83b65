"""`rune status` and `rune health`: how things are."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import click

from rune.api.orchestrator import health as health_api
from rune.api.orchestrator import services
from rune.cli import options, output
from rune.cli.connect import connected
from rune.cli.rollout import reason
from rune.cli.state import State
from rune.cli.views import external, ready


@click.command(epilog="Examples: rune status; rune status -A; rune status -o json")
@options.namespace
@click.option("-A", "--all-namespaces", is_flag=True, help="Everything you may see.")
@options.output("table", "json", "yaml")
@click.pass_obj
def status(state: State, **given: Any) -> None:  # noqa: ANN401 - click's way
    """See all services at a glance, those that need a look first."""
    namespace = "*" if given["all_namespaces"] else state.namespace(given["namespace"])
    request = services.ListServicesRequest(namespace=namespace)
    found = connected(state, lambda client: client.call(services.list_, request)).services
    if given["output"] != "table":
        output.show_all(found, given["output"])
        return
    order = {services.ServiceStatus.FAILED: 0, services.ServiceStatus.PENDING: 1}
    rows = [
        [
            *([service.namespace] if namespace == "*" else []),
            service.name,
            output.word(service.status) or "-",
            f"{ready(service)}/{service.scale}",
            service.address or "-",
            external(service),
            reason(service) or _closed(service) or _autoscaled(service) or "-",
        ]
        for service in sorted(found, key=lambda service: order.get(service.status, 2))
    ]
    headings = ["NAME", "STATUS", "READY", "ADDRESS", "EXTERNAL", "MESSAGE"]
    if rows:
        output.show_table(["NAMESPACE", *headings] if namespace == "*" else headings, rows)
    counts = Counter(output.word(service.status) or "Unknown" for service in found)
    words = ", ".join(f"{count} {name.lower()}" for name, count in counts.most_common())
    click.echo(f"{len(found)} services at {state.address}{f': {words}' if words else ''}", err=True)


def _autoscaled(service: services.Service) -> str:
    """What holds autoscale back."""
    told = service.autoscaling
    return f"autoscale: {told.message}" if told and told.reason not in ("", "Steady") else ""


@click.command(epilog="Examples: rune health; rune health service api --checks; rune health node")
@click.argument("type", metavar="[TYPE]", default="")
@click.argument("name", metavar="[NAME]", default="")
@options.namespace
@click.option("--checks", is_flag=True, help="Add what each probe said last.")
@options.output("table", "json", "yaml")
@click.pass_obj
def health(state: State, type: str, name: str, **given: Any) -> int | None:  # noqa: ANN401 - click's way
    """See how services, instances or the node are; the exit code is 1 when something is unhealthy."""
    kinds = {"svc": "service", "inst": "instance", "services": "service", "instances": "instance"}
    kind = kinds.get(type, type)
    if kind not in ("", "service", "instance", "node"):
        raise click.UsageError(f"{type!r} is none of service, instance and node")
    request = health_api.GetHealthRequest(
        component_type=kind,
        name=name,
        namespace=state.namespace(given["namespace"]),
        include_checks=given["checks"],
    )
    found = connected(state, lambda client: client.call(health_api.get, request)).components
    if given["output"] == "table":
        _table(found)
    else:
        output.show_all(found, given["output"])
    sick = [item for item in found if item.status is health_api.HealthStatus.UNHEALTHY]
    return 1 if sick else None


def _closed(service: services.Service) -> str:
    """Why nobody listens where it is exposed."""
    return service.exposure.message if service.exposure else ""


def _table(found: list[health_api.ComponentHealth]) -> None:
    rows: list[list[str]] = []
    for item in found:
        rows.append(
            [
                item.component_type,
                item.name or item.id,
                item.namespace or "-",
                _word(item.status),
                item.message or "-",
            ]
        )
        rows += [
            ["", f"  {_word(check.type).lower()}", "", _word(check.status), check.message or "-"]
            for check in item.check_results
        ]
    if not rows:
        sys.stderr.write("there is nothing to be seen\n")
        return
    output.show_table(["TYPE", "NAME", "NAMESPACE", "HEALTH", "MESSAGE"], rows)


def _word(value: Any) -> str:  # noqa: ANN401 - any enum of health
    return output.word(value) or "-"
