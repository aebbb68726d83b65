"""Templates and values become resources of a release."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rune.errors import InvalidArgument
from rune.manifest.documents import Item, read
from rune.manifest.runesets.archive import Files
from rune.manifest.runesets.layers import Given, settled, with_samples
from rune.manifest.runesets.metadata import Metadata, metadata
from rune.manifest.template.evaluate import render
from rune.manifest.template.nodes import Path, Template, expressions
from rune.manifest.template.output import Rendered
from rune.manifest.template.parse import parse
from rune.positions.spots import Malformed, Problem, Spot

FOLDER = "templates/"
ENDINGS = (".yaml.tmpl", ".yml.tmpl")
LIBRARIES = (".tpl", ".tmpl")
"""Files of definitions; their own text is not sent."""
MOST_TEMPLATES = 200
_RELEASE = re.compile(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Runeset:
    """A runeset that was read: its metadata and its parsed templates."""

    origin: str
    files: Files
    metadata: Metadata
    templates: Sequence[Template]
    library: Sequence[Template]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a runeset is cast as."""

    name: str = ""
    """The runeset's own name when empty."""
    namespace: str = "default"


def load(files: Files, *, origin: str) -> Runeset:
    """The runeset; raises Malformed with everything that is wrong with its own file and its templates."""
    problems: list[Problem] = []
    found: Metadata | None = None
    try:
        found = metadata(files, origin=origin)
    except Malformed as error:
        problems += error.problems
    names = sorted(name for name in files if name.startswith(FOLDER))
    if len(names) > MOST_TEMPLATES:
        raise InvalidArgument(f"{origin} has more than {MOST_TEMPLATES} templates")
    templates = {name: _parsed(files[name], f"{origin}/{name}", problems) for name in names if _is_text(name)}
    sent = [template for name, template in templates.items() if template and name.endswith(ENDINGS)]
    library = [template for name, template in templates.items() if template and not name.endswith(ENDINGS)]
    if not problems and not sent:
        problems.append(Problem(Spot(origin, 1, 1), f"there is no {FOLDER}*.yaml.tmpl, so it gives nothing"))
    if problems or found is None:
        raise Malformed(problems)
    return Runeset(origin, files, found, sent, library)


def _is_text(name: str) -> bool:
    return name.endswith(LIBRARIES)


def _parsed(data: bytes, name: str, problems: list[Problem]) -> Template | None:
    try:
        return parse(data.decode("utf-8-sig"), name=name)
    except UnicodeDecodeError as error:
        problems.append(Problem(Spot(name, 1, 1), f"this is not UTF-8: {error.reason}"))
    except Malformed as error:
        problems += error.problems
    return None


def rendered(runeset: Runeset, given: Given, release: Release, *, samples: bool = False) -> list[Rendered]:
    """The output of every template; raises Malformed. `samples` stand in for values that nobody gave."""
    about = with_samples(runeset.metadata) if samples else runeset.metadata
    values = settled(about, runeset.files, given, origin=runeset.origin)
    context = _context(runeset.metadata, values, release)
    outputs: list[Rendered] = []
    problems: list[Problem] = []
    for template in runeset.templates:
        output, wrong = render(template, context, library=runeset.library)
        outputs.append(output)
        problems += wrong
    if problems:
        raise Malformed(problems)
    return outputs


def _context(about: Metadata, values: dict[str, Any], release: Release) -> dict[str, Any]:
    name = release.name or about.name
    if not _RELEASE.fullmatch(name):
        raise InvalidArgument("--release: a name has lower-case letters, digits and dashes, 53 at most")
    return {
        "Values": values,
        "Release": {"Name": name, "Namespace": release.namespace},
        "Runeset": {"Name": about.name, "Version": about.version, "Description": about.description},
    }


def items(outputs: Sequence[Rendered]) -> tuple[list[Item], list[Problem]]:
    """What the outputs declare, and what is wrong with them, told at the places of the templates."""
    found: list[Item] = []
    problems: list[Problem] = []
    for output in outputs:
        try:
            found += read(output.text, name=output.name, origin=output)
        except Malformed as error:
            problems += error.problems
    return found, problems


def unused(runeset: Runeset) -> list[Problem]:
    """Values that are declared, and that no template reads."""
    read_: set[tuple[str, ...]] = set()
    for template in (*runeset.templates, *runeset.library):
        bodies = [template.body, *(block.body for block in template.defines.values())]
        for expression in (found for body in bodies for found in expressions(body)):
            if isinstance(expression, Path) and expression.names[0] == "Values":
                read_.add(expression.names[1:])
    return [
        Problem(value.spot, f"no template reads the value {value.name}", value.name)
        for value in runeset.metadata.values
        if not any(_touches(way, tuple(value.name.split("."))) for way in read_)
    ]


def _touches(way: tuple[str, ...], name: tuple[str, ...]) -> bool:
    shared = min(len(way), len(name))
    return way[:shared] == name[:shared]
