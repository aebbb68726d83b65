"""`rune policy`: derived from the operation table, and what reads files."""

from __future__ import annotations

from pathlib import Path

import click

from rune.api import OPERATIONS
from rune.api.security import policies as api
from rune.cli import derive, options, output
from rune.cli.connect import connected
from rune.cli.replay import replay
from rune.cli.state import State
from rune.errors import InvalidArgument
from rune.policy import suites
from rune.policy.compile import compile as compiled
from rune.policy.document import parse

INVALID = 6
FAILED = 1
LARGEST = 1 << 20

policy = click.Group("policy", help="Security policies: write, test, replay, switch.", no_args_is_help=True)
derive.attach(policy, OPERATIONS, "policy")
policy.add_command(replay)


@policy.command(epilog="Examples: rune policy validate policy.yaml; rune policy validate - < policy.yaml")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@options.output("text", "json")
def validate(files: tuple[str, ...], output: str) -> int | None:
    """Check policies without a server. Exit code 6 when one is not good."""
    failures = {name: _failure(name) for name in files}
    if output == "json":
        _write([{"file": name, "valid": not why, "error": why or None} for name, why in failures.items()])
    else:
        for name, why in failures.items():
            click.echo(f"{name}: {why or 'valid'}")
    return INVALID if any(failures.values()) else None


@policy.command(epilog="Examples: rune policy test policy-tests.yaml; rune policy test tests/*.yaml -o json")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@options.output("text", "json")
def test(files: tuple[str, ...], output: str) -> int | None:
    """Run the unit tests of policies without a server. Exit code 1 when one fails."""
    found = [outcome for name in files for outcome in suites.run(Path(name))]
    if output == "json":
        _write([{"test": each.name, "passed": not each.wrong, "wrong": each.wrong} for each in found])
    else:
        for each in found:
            click.echo(
                f"{'FAILED' if each.wrong else 'passed'}  {each.name}{each.wrong and f': {each.wrong}'}"
            )
    failed = sum(bool(each.wrong) for each in found)
    click.echo(f"{len(found)} tests, {failed} failed", err=True)
    return FAILED if failed else None


@policy.command(epilog="Example: rune policy create production policy.yaml")
@click.argument("name")
@click.argument("file")
@click.pass_obj
def create(state: State, name: str, file: str) -> None:
    """Create a policy from a file; it is in force at once."""
    request = api.CreateSecurityPolicyRequest(name=name, yaml_content=_read(file))
    answer = connected(state, lambda client: client.call(api.create, request))
    click.echo(f"policy {answer.name!r} created as {answer.id}")


@policy.command(epilog="Example: rune policy update pol_4f1c policy.yaml")
@click.argument("policy_id")
@click.argument("file", required=False)
@click.option("--name", help="Another name.")
@click.pass_obj
def update(state: State, policy_id: str, file: str | None, *, name: str | None) -> None:
    """Make a file the next version of a policy, or give the policy another name."""
    text = _read(file) if file else None
    request = api.UpdateSecurityPolicyRequest(policy_id=policy_id, name=name, yaml_content=text)
    connected(state, lambda client: client.call(api.update, request))
    click.echo(f"policy {policy_id} updated")


@policy.command(epilog="Examples: rune policy toggle pol_4f1c --off; rune policy toggle pol_4f1c --on")
@click.argument("policy_id")
@click.option("--on/--off", "active", required=True, default=None, help="In force or not.")
@click.pass_obj
def toggle(state: State, policy_id: str, *, active: bool) -> None:
    """Switch a policy on or off."""
    request = api.TogglePolicyRequest(policy_id=policy_id, active=active)
    connected(state, lambda client: client.call(api.toggle, request))
    click.echo(f"policy {policy_id} is {'on' if active else 'off'}")


def _failure(name: str) -> str:
    try:
        compiled(parse(_read(name)))
    except InvalidArgument as error:
        return error.message
    return ""


def _read(name: str) -> str:
    try:
        with click.open_file(name, encoding="utf-8") as file:
            text: str = file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{name} cannot be read: {error}") from error
    if len(text) > LARGEST:
        raise InvalidArgument(f"{name} has more than {LARGEST} characters")
    return text


def _write(rows: list[dict[str, object]]) -> None:
    output.write(rows, "json")
