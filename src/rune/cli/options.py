"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_DURATION = r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?"
LONGEST = 30 * 86400.0


class Duration(click.ParamType[float]):
    """`90`, `90s`, `5m`, `1h30m`, `7d`: seconds."""

    name = "duration"

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(_DURATION, str(value).strip())
        if not value or not found:
            self.fail(f"{value!r} is no duration: write 90s, 5m or 1h30m", param, ctx)
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        total = days * 86400 + hours * 3600 + minutes * 60 + seconds
        if not 0 < total <= self._longest:
            most = f"{self._longest / 86400:g} days"
            self.fail(f"{value!r} is not between a moment and {most}", param, ctx)
        return total


class Pair(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`."""

    name = "key=value"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType] - what convert gave before
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


class Selector(click.ParamType[dict[str, str]]):
    """`app=api,tier!=db`, as the server takes it: the second becomes `{"tier!": "db"}`."""

    name = "selector"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> dict[str, str]:
        if isinstance(value, dict):
            return value  # pyright: ignore[reportUnknownVariableType] - what convert gave before
        found: dict[str, str] = {}
        for term in filter(None, (part.strip() for part in str(value).split(","))):
            key, equals, text = term.partition("=")
            if not equals or not key.strip().removesuffix("!"):
                self.fail(f"{term!r} is not like app=api or tier!=db", param, ctx)
            found[key.strip()] = text.removeprefix("=").strip()
        return found


DURATION = Duration()
LIFETIME = Duration(3652 * 86400.0)
PAIR = Pair()
SELECTOR = Selector()

namespace = click.option("-n", "--namespace", metavar="NAME", help="The namespace. [RUNE_NAMESPACE]")
wait = click.option("--wait/--no-wait", default=True, help="Wait until it is done, or not.")


def certificates(command: F) -> F:
    """`--ca-file`, `--cert-file`, `--key-file`: how to speak TLS with the server."""
    for flag, text in (
        ("--key-file", "The private key of our certificate, as PEM."),
        ("--cert-file", "Our own certificate, for a server that asks for one, as PEM."),
        ("--ca-file", "The authority of the server's certificate, as PEM."),
    ):
        command = click.option(flag, metavar="FILE", help=text)(command)
    return command


def timeout(default: str) -> Callable[[F], F]:
    """`--timeout`, with the command's own default."""
    return click.option(
        "--timeout", type=DURATION, default=default, show_default=True, help="How long to wait at most."
    )


def output(*formats: str) -> Callable[[F], F]:
    """`-o`, the first format being the usual one."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to show it.",
    )
