"""`rune deps`: who waits for whom, on the server or in files."""

from __future__ import annotations

from typing import Any

import click

from rune.api.orchestrator import services
from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import DependencyRef, ReadyWhen
from rune.cli import options, output
from rune.cli.connect import connected
from rune.cli.files import items_of
from rune.cli.state import State
from rune.cli.views import ready
from rune.errors import FailedPrecondition, NotFound
from rune.manifest import graph as graphs
from rune.manifest.positions import Malformed

files_option = click.option(
    "-f", "--file", "files", metavar="FILE", multiple=True, help="Look at files instead of the server."
)


FINE = ("ready", "not there, and need not be")


class Broken(FailedPrecondition):
    """Dependencies are not what they should be."""

    exit_code = 1
    next = "rune deps graph shows all of them"


@click.group(
    no_args_is_help=True, epilog="Examples: rune deps graph; rune deps check api; rune deps validate -f ."
)
def deps() -> None:
    """See who waits for whom."""


@deps.command(epilog="Example: rune deps graph --format dot | dot -Tsvg")
@click.argument("service", default="", metavar="[SERVICE]")
@options.namespace
@files_option
@click.option("--format", "form", type=click.Choice(("text", "dot", "json")), default="text")
@click.pass_obj
def graph(state: State, service: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Show the graph, of everything or from SERVICE on."""
    edges = graphs.graph(_services(state, given))
    start = [_key(state, service, given)] if service else sorted(edges)
    if service and start[0] not in edges:
        raise NotFound(f"there is no service {service!r} in namespace {start[0][0]!r}")
    reached = _reached(edges, start)
    shown = {_name(key): [_name(needed) for needed in edges[key]] for key in sorted(reached)}
    if given["form"] == "json":
        output.write(shown, "json")
    elif given["form"] == "dot":
        click.echo(_dot(shown))
    else:
        for name, needed in shown.items():
            click.echo(f"{name} → {', '.join(needed)}" if needed else name)


def _dot(shown: dict[str, list[str]]) -> str:
    """In the language of Graphviz."""
    lines = [f'  "{name}" -> "{needed}";' for name in shown for needed in shown[name]]
    alone = [f'  "{name}";' for name in shown if not shown[name]]
    return "\n".join(["digraph dependencies {", *alone, *lines, "}"])


@deps.command(epilog="Examples: rune deps validate; rune deps validate -f app.yaml")
@click.argument("service", default="", metavar="[SERVICE]")
@options.namespace
@files_option
@click.pass_obj
def validate(state: State, service: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Find circles, and dependencies on what is not there."""
    found = _services(state, given)
    edges = graphs.graph(found)
    asked = _reached(edges, [_key(state, service, given)]) if service else set(edges)
    circles = [circle for circle in graphs.cycles(found) if asked & set(circle)]
    lines = [f"a circle: {' → '.join(map(_name, [*circle, circle[0]]))}" for circle in circles]
    optional = {
        (graphs.key(one), needed.service) for one in found for needed in one.dependencies if needed.optional
    }
    lines += [
        f"{_name(key)} waits for {_name(needed)}, which is not there"
        for key in sorted(asked & set(edges))
        for needed in edges[key]
        if needed not in edges and (key, needed[1]) not in optional
    ]
    if lines:
        raise Broken("\n".join(lines))
    click.echo(f"{len(asked)} services: no circle, nothing missing")


@deps.command(epilog="Example: rune deps check api")
@click.argument("service")
@options.namespace
@click.pass_obj
def check(state: State, service: str, **given: Any) -> int | None:  # noqa: ANN401 - click's way
    """See whether what SERVICE waits for is there and ready; the exit code is 1 when it is not."""
    found = {graphs.key(item): item for item in _services(state, {**given, "files": ()})}
    key = _key(state, service, given)
    if key not in found:
        raise NotFound(f"there is no service {service!r} in namespace {key[0]!r}")
    rows = [
        [
            _name((ref.namespace or key[0], ref.service)),
            _far(ref),
            _state(found.get((ref.namespace or key[0], ref.service)), ref),
        ]
        for ref in found[key].dependencies
        if ref.service
    ]
    if not rows:
        click.echo(f"{service} waits for nothing")
        return None
    output.show_table(["NEEDS", "WHEN", "STATE"], rows)
    return 1 if any(row[2] not in FINE for row in rows) else None


@deps.command(epilog="Example: rune deps dependents db")
@click.argument("service")
@options.namespace
@files_option
@click.pass_obj
def dependents(state: State, service: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """List the services that wait for SERVICE."""
    for key in graphs.dependents(_services(state, given), _key(state, service, given)):
        click.echo(_name(key))


def _services(state: State, given: dict[str, Any]) -> list[Service]:
    if not given["files"]:
        request = services.ListServicesRequest(namespace="*")
        return connected(state, lambda client: client.call(services.list_, request)).services
    items, problems, _count = items_of(given["files"])
    if problems:
        raise Malformed(problems)
    return [item.model for item in items if item.kind == "service"]


def _reached(edges: dict[graphs.Key, list[graphs.Key]], start: list[graphs.Key]) -> set[graphs.Key]:
    found: set[graphs.Key] = set()
    waiting = list(start)
    while waiting:
        key = waiting.pop()
        if key in edges and key not in found:
            found.add(key)
            waiting += edges[key]
    return found


def _far(ref: DependencyRef) -> str:
    """How far the dependency must have come."""
    when = "healthy" if ref.ready_when is ReadyWhen.UNSPECIFIED else output.word(ref.ready_when).lower()
    return f"{when}, optional" if ref.optional else when


def _state(service: Service | None, ref: DependencyRef) -> str:
    if service is None:
        return "not there, and need not be" if ref.optional else "not there"
    if any(_is_enough(copy, ref.ready_when) for copy in service.instances):
        return "ready"
    return f"{output.word(service.status).lower() or 'unknown'}, {ready(service)} of {service.scale} ready"


def _is_enough(copy: Instance, when: ReadyWhen) -> bool:
    if when is ReadyWhen.STARTED:
        return copy.status not in (InstanceStatus.PENDING, InstanceStatus.CREATED)
    return copy.pid > 0 if when is ReadyWhen.RUNNING else copy.ready


def _key(state: State, service: str, given: dict[str, Any]) -> graphs.Key:
    return state.namespace(given["namespace"]), service


def _name(key: graphs.Key) -> str:
    return key[1] if key[0] == "default" else f"{key[0]}/{key[1]}"
