"""Runesets on the command line: their options, and what they give together with plain files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from rune.cli import options
from rune.cli.files import Found, add_file, content, is_runeset, sources
from rune.errors import InvalidArgument
from rune.positions.spots import Malformed

F = TypeVar("F", bound=Callable[..., Any])
MOST_VALUES = 1 << 20


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What was said about runesets."""

    settings: Sequence[tuple[str, str]] = ()
    texts: Sequence[tuple[str, str]] = ()
    """Settings whose text stands in the file that is named."""
    values: Sequence[str] = ()
    release: str = ""
    namespace: str = "default"
    checksum: str = ""
    is_recursive: bool = False
    is_check: bool = False
    """Nothing is sent: required values that were not given have stand-ins, and slips are looked for."""

    @property
    def is_about_runesets(self) -> bool:
        """Something was said that only a runeset can use."""
        return bool(self.settings or self.texts or self.values or self.release or self.checksum)


def runeset_options(command: F) -> F:
    """`--set`, `--set-file`, `--values`, `--release`, `--checksum` and `-R`."""
    for option in reversed(
        (
            click.option(
                "--set", "settings", type=options.PAIR, multiple=True, help="A runeset's value, as in a.b=c."
            ),
            click.option(
                "--set-file",
                "texts",
                type=options.PAIR,
                multiple=True,
                metavar="KEY=PATH",
                help="A runeset's value from a file (- is stdin): for what must not stand in a command line.",
            ),
            click.option(
                "-f", "--values", metavar="FILE", multiple=True, help="A file with a runeset's values."
            ),
            click.option("--release", metavar="NAME", default="", help="What a runeset is cast as."),
            click.option(
                "--checksum", metavar="sha256:…", default="", help="Refuse a runeset that is not this one."
            ),
            click.option("-R", "--recursive", "-r", is_flag=True, help="Look into the folders of a folder."),
        )
    ):
        command = option(command)
    return command


def ask_of(given: dict[str, Any], *, namespace: str = "default", is_check: bool = False) -> Ask:
    """What the options of `runeset_options` said."""
    return Ask(
        settings=given["settings"],
        texts=given["texts"],
        values=given["values"],
        release=given["release"],
        checksum=given["checksum"],
        is_recursive=given["recursive"],
        namespace=namespace,
        is_check=is_check,
    )


def found_in(names: Sequence[str], ask: Ask) -> Found:
    """Everything the files and runesets declare, and everything that is wrong with them."""
    found = Found()
    some = list(sources(names, is_recursive=ask.is_recursive))
    runesets = [name for name in some if is_runeset(name)]
    if ask.is_about_runesets and not runesets:
        raise click.UsageError("--set, --set-file, --values, --release and --checksum are for runesets")
    if (ask.release or ask.checksum) and len(runesets) > 1:
        raise click.UsageError("--release and --checksum are for one runeset at a time")
    for name in some:
        if name in runesets:
            _add_runeset(found, name, ask)
        else:
            add_file(found, name)
    return found


def _add_runeset(found: Found, name: str, ask: Ask) -> None:
    from rune.cli.sources import files_of  # noqa: PLC0415 - plain files do without
    from rune.manifest.runesets.rendering import Release, items, load, rendered, unused  # noqa: PLC0415 - as above

    files, origin = files_of(name, checksum=ask.checksum)
    try:
        runeset = load(files, origin=origin)
        release = Release(name=ask.release, namespace=ask.namespace)
        outputs = rendered(runeset, _given(ask), release, samples=ask.is_check)
    except Malformed as error:
        found.problems += error.problems
        found.count += 1
        return
    found.count += len(outputs)
    found.shown += [(output.name, output.shown) for output in outputs]
    found.hints += unused(runeset)
    declared, problems = items(outputs)
    found.items += declared
    found.problems += problems


def _given(ask: Ask) -> Any:  # noqa: ANN401 - Given, imported when it is needed
    from rune.manifest.runesets.layers import Given  # noqa: PLC0415 - as in _add_runeset

    return Given(
        files=[(name, _content(name, "--values")) for name in ask.values],
        settings=ask.settings,
        texts=[(key, _secret(path, key)) for key, path in ask.texts],
    )


def _secret(path: str, key: str) -> str:
    try:
        return _content(path, f"--set-file {key}").decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"--set-file {key}: {path} is not UTF-8 text") from error


def _content(path: str, option: str) -> bytes:
    try:
        return content(path, most=MOST_VALUES)
    except InvalidArgument as error:
        raise InvalidArgument(f"{option}: {path} cannot be read: {error.message}") from error
