"""Commands straight from the operation table: every operation with a `cli=…` is one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import click

from rune.api.fields import Message, WireEnum
from rune.api.operation import Effect, Operation
from rune.api.shape import Field, fields
from rune.api.validate import build
from rune.cli import options, output, table
from rune.cli.cells import cell, columns
from rune.cli.confirm import confirm
from rune.cli.connect import connected
from rune.cli.state import State

_PLACE = re.compile(r"{([a-z_]+)}")
_TYPES: dict[str, click.ParamType[Any]] = {
    **dict.fromkeys(("int32", "int64", "uint32", "uint64"), click.INT),
    "double": click.FLOAT,
}
SHOWN_DEEPER = ("status", "paging")
"""Fields of an answer that are about the answer, not part of it."""


def attach(group: click.Group, operations: Iterable[Operation[Any, Any]], prefix: str) -> None:
    """Add to the group the commands whose path begins with the prefix, in groups of their own."""
    for row in operations:
        words = [word for word in row.cli.split() if not word.startswith("{")]
        if not row.cli.startswith(f"{prefix} "):
            continue
        holder = group
        for word in words[len(prefix.split()) : -1]:
            holder = _subgroup(holder, word)
        holder.add_command(command_of(row))


def _subgroup(group: click.Group, word: str) -> click.Group:
    found = group.commands.get(word)
    if not isinstance(found, click.Group):
        found = click.Group(word, help=f"Commands about {word} resources.", no_args_is_help=True)
        group.add_command(found)
    return found


def command_of(row: Operation[Any, Any]) -> click.Command:
    """The operation as a command: what stands in braces are arguments, all other fields options."""
    places = _PLACE.findall(row.cli)
    words = [word for word in row.cli.split() if not word.startswith("{")]
    given = [field for field in fields(row.request) if not field.unsupported]
    params: list[click.Parameter] = [_argument(field) for field in given if field.name in places]
    params += [_option(field, row) for field in given if field.name not in places and _is_simple(field)]
    params += [
        _format(),
        *([_yes()] if row.effect is Effect.DESTROY else []),
        *([_watch()] if row.watch else []),
    ]

    @click.pass_obj
    def run(state: State, /, **values: Any) -> None:  # noqa: ANN401 - click's way
        _run(state, row, values)

    usage = " ".join(f"<{place}>" for place in places)
    return click.Command(
        words[-1],
        params=params,
        callback=run,
        help=row.summary,
        epilog=f"Example: rune {' '.join(words)} {usage}".rstrip(),
    )


def _is_simple(field: Field) -> bool:
    """It can be said in an option."""
    return not (field.is_message or field.is_time or field.dress == "raw" or field.wire == "revision")


def _argument(field: Field) -> click.Parameter:
    return click.Argument([field.name], metavar=field.name.upper())


def _option(field: Field, row: Operation[Any, Any]) -> click.Parameter:
    if field.is_scope:
        return click.Option(["-n", "--namespace"], metavar="NAME", help="The namespace. [RUNE_NAMESPACE]")
    flag = f"--{field.name.replace('_', '-')}"
    words = field.constraints.description or ""
    if field.mapping:
        return click.Option([flag, field.name], type=options.PAIR, multiple=True, help=words)
    if field.python is bool and field.default is None:
        return click.Option([f"{flag}/--no-{flag[2:]}", field.name], default=None, help=words)
    if field.python is bool:
        return click.Option([flag, field.name], is_flag=True, help=words)
    return click.Option(
        [flag, field.name],
        type=_type(field),
        multiple=field.repeated,
        required=field.required,
        help=words or f"Of {row.method}: {field.name.replace('_', ' ')}.",
    )


def _type(field: Field) -> click.ParamType[Any]:
    model = field.model
    if model is not None and issubclass(model, WireEnum):
        return click.Choice([output.word(word).lower() for word in list(model)[1:]])
    return _TYPES.get(field.type, click.STRING)


def _format() -> click.Parameter:
    kinds = click.Choice(("table", "json", "yaml"))
    return click.Option(["-o", "--output", "_format"], type=kinds, default="table", help="How to show it.")


def _watch() -> click.Parameter:
    return click.Option(["-w", "--watch", "_watch"], is_flag=True, help="Go on with every change.")


def _yes() -> click.Parameter:
    return click.Option(["-y", "--yes", "_yes"], is_flag=True, help="Do not ask.")


def _run(state: State, row: Operation[Any, Any], values: dict[str, Any]) -> None:
    shown = values.pop("_format")
    if row.effect is Effect.DESTROY:
        named = " ".join(str(values[place]) for place in _PLACE.findall(row.cli))
        confirm(f"{row.summary[0].lower()}{row.summary[1:].rstrip('.')} ({named})", yes=values.pop("_yes"))
    watches = values.pop("_watch", False)
    request = request_of(state, row, values)
    if watches:
        from rune.cli.watching import go_on  # noqa: PLC0415 - other commands do without

        connected(state, lambda client: go_on(client, row, request, format=shown))
        return
    answer = connected(state, lambda client: client.call(row, request))
    show(answer, shown)


def request_of(state: State, row: Operation[Any, Any], values: dict[str, Any]) -> Message:
    """The request that the options say; raises InvalidArgument with everything that is wrong in them."""
    data: dict[str, Any] = {}
    for field in fields(row.request):
        value = values.get(field.name)
        if field.is_scope and "namespace" in values:
            value = state.namespace(value)
        if value in (None, ()):
            continue
        data[field.wire] = _wire(field, value)
    return build(row.request, data)


def _wire(field: Field, value: Any) -> Any:  # noqa: ANN401 - as click converted it
    if field.mapping:
        return dict(value)
    if issubclass(field.python, WireEnum):
        return next(word.value for word in field.python if output.word(word).lower() == value)
    return list(value) if field.repeated else value


def show(answer: Message, format: str) -> None:
    """The answer: what is in it, as a table of one row or many, or whole."""
    if format != "table":
        output.show(answer, format)
        return
    parts = [field for field in fields(type(answer)) if field.name not in SHOWN_DEEPER]
    for field in parts:
        value = getattr(answer, field.name)
        if field.is_message and field.repeated:
            _rows(value, field)
            return
        if field.is_message and value is not None:
            _pairs(value)
            return
    _pairs(answer)


def _rows(items: Sequence[Message], field: Field) -> None:
    shown = columns(field.python)
    if not items:
        click.echo("there are none", err=True)
        return
    used = [part for part in shown if any(getattr(item, part.name) for item in items)]
    rows = [[cell(item, part) for part in used] for item in items]
    output.show_readable([part.name.replace("_", " ").upper() for part in used], rows)


def _pairs(message: Message) -> None:
    for part in fields(type(message)):
        is_shown = part.name not in SHOWN_DEEPER or not part.is_message
        if is_shown and getattr(message, part.name) not in (None, "", [], {}):
            click.echo(f"{part.name.replace('_', ' ')}: {table.safe(cell(message, part))}")
