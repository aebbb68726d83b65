"""`rune scan`: what Shield finds in texts, files and folders, without a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from rune import Shield
from rune.cli import options, output
from rune.cli.table import clean
from rune.cli.texts import Piece, files, pieces_of, pieces_of_stdin
from rune.errors import InvalidArgument
from rune.version import __version__

FOUND = 1
UNREADABLE = 6
MOST_FINDINGS = 10_000
SURE = 0.5
"""Signs that are less sure than this are not told; a Shield weighs them together with others."""
ORDER = ("info", "low", "medium", "high", "critical")
LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
KINDS = ("any", "chat", "web", "email", "rag", "tool", "output")


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One threat at one place; never the text that stands there."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    severity: str
    type: str
    rule: str
    confidence: float
    explanation: str


class Scan:
    """What was read and found so far, within bounds."""

    def __init__(self, shield: Shield, kind: str, least: str) -> None:
        self._shield = shield
        self._kind = kind
        self._least = ORDER.index(least)
        self._seen: dict[tuple[object, ...], Finding] = {}
        self.files = 0
        self.skipped = 0
        self.unreadable: list[str] = []
        self.cut = False

    @property
    def findings(self) -> list[Finding]:
        """By file and place."""
        return sorted(self._seen.values(), key=lambda each: (each.file, each.line, each.column, each.rule))

    def file(self, path: Path) -> None:
        """Reads a file; one that cannot be read is noted."""
        name = os.fsencode(path).decode("utf-8", "replace")
        try:
            self.text(name, pieces_of(path))
        except OSError as error:
            self.unreadable.append(f"{name}: {error.strerror}")

    def text(self, name: str, pieces: Iterator[Piece]) -> None:
        """Reads a text."""
        read = False
        for piece in pieces:
            read = True
            for found in self._threats(piece.text):
                self._note(name, piece, found)
        self.files += read
        self.skipped += not read

    def _threats(self, text: str) -> Iterator[dict[str, Any]]:
        asked: list[tuple[Literal["input", "output", "tool_result"], str]] = []
        if self._kind in {"any", "output"}:
            asked.append(("output", ""))
        if self._kind != "output":
            asked.append(("tool_result" if self._kind == "tool" else "input", self._kind))
        for kind, source in asked:
            context = {"source": "rag" if source == "any" else source, "tool": "tool"} if source else None
            result = self._shield.scan(kind, text, context, report=False)
            yield from result.threats_detected
            decision = result.policy_result
            if decision is not None and decision.action != "log":
                yield {
                    "type": "policy_violation",
                    "rule": f"{decision.policy}/{decision.rule}".removeprefix("/"),
                    "severity": decision.severity or "high",
                    "confidence": 1.0,
                    "explanation": decision.explanation,
                    "start": 0,
                    "end": 0,
                }

    def _note(self, name: str, piece: Piece, found: dict[str, Any]) -> None:
        if found["confidence"] < SURE or ORDER.index(found["severity"]) < self._least:
            return
        line, column = piece.place(found["start"])
        end_line, end_column = piece.place(found["end"])
        key = (name, found["type"], found["rule"], line, column)
        known = self._seen.get(key)
        if known is not None and ORDER.index(known.severity) >= ORDER.index(found["severity"]):
            return
        if known is None and len(self._seen) >= MOST_FINDINGS:
            self.cut = True
            return
        self._seen[key] = Finding(
            file=name,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            severity=found["severity"],
            type=found["type"],
            rule=found["rule"],
            confidence=found["confidence"],
            explanation=found["explanation"],
        )


@click.command(
    epilog="Examples: rune scan docs/; rune scan - < page.html; rune scan --text 'what is new?' --as chat; "
    "rune scan . -o sarif > rune.sarif"
)
@click.argument("targets", metavar="[FILE|FOLDER|-]...", nargs=-1)
@click.option("--text", "given", help="A text to scan.")
@click.option("--policy", metavar="FILE", help="A policy, or a folder of them, to judge by as well.")
@click.option("--rules", metavar="FILE", help="Pattern rules of your own, beside those that ship with Rune.")
@click.option(
    "--as", "kind", type=click.Choice(KINDS), default="any", show_default=True,
    help="What the texts are: where they came from, or what a model says; any is a document and its secrets.",
)  # fmt: skip
@click.option(
    "--min-severity", "least", type=click.Choice(ORDER[1:]), default="medium", show_default=True,
    help="What is less is not told.",
)  # fmt: skip
@click.option("--no-ignore", "all_of_it", is_flag=True, help="Read what .gitignore leaves out as well.")
@options.output("table", "json", "sarif")
def scan(  # noqa: PLR0913 - a parameter for each option
    targets: tuple[str, ...], *, given: str | None, policy: str | None, rules: str | None, kind: str,
    least: str, all_of_it: bool, output: str,
) -> int | None:  # fmt: skip
    """Look for threats in texts, without a server. Exit code 1 when there are any, 6 for unreadable files."""
    if not targets and given is None:
        raise InvalidArgument("say what to scan: a file, a folder, - for stdin, or --text")
    shield = Shield(events_enabled=False, local_policies_path=policy, rules_path=rules, debug=False)
    found = Scan(shield, kind, least)
    if given is not None:
        found.text("<text>", iter([Piece(given, 1, 1)]))
    for target in targets:
        _target(found, target, ignore=not all_of_it)
    _write(found, output)
    if found.findings:
        return FOUND
    return UNREADABLE if found.unreadable else None


def _target(found: Scan, target: str, *, ignore: bool) -> None:
    if target == "-":
        found.text("<stdin>", pieces_of_stdin())
        return
    paths = files(target, ignore=ignore)
    hidden = len(paths) < 2 or not sys.stderr.isatty()  # noqa: PLR2004 - one file is done before a bar is drawn
    with click.progressbar(paths, label=f"scanning {target}", file=sys.stderr, hidden=hidden) as bar:
        for path in bar:
            found.file(path)


def _write(found: Scan, format: str) -> None:
    findings = found.findings
    match format:
        case "json":
            told = {"files": found.files, "skipped": found.skipped, "unreadable": found.unreadable}
            output.write({**told, "truncated": found.cut, "findings": findings}, "json")
        case "sarif":
            output.write(_sarif(findings), "json")
        case _:
            rows = [[f"{f.file}:{f.line}:{f.column}", f.severity, f.rule, f.explanation] for f in findings]
            if rows:
                output.show_table(("PLACE", "SEVERITY", "RULE", "WHY"), rows)
    for problem in found.unreadable:
        click.echo(clean(f"cannot be read: {problem}"), err=True)
    if found.cut:
        click.echo(f"there are more; the first {MOST_FINDINGS} are told", err=True)
    counted = f"{found.files} texts read, {found.skipped} skipped that hold no text, {len(findings)} findings"
    click.echo(counted, err=True)


def _sarif(findings: list[Finding]) -> dict[str, Any]:
    rules = {each.rule: each.type for each in findings}
    driver = {
        "name": "rune",
        "version": __version__,
        "rules": [
            {"id": rule, "name": kind, "shortDescription": {"text": kind}} for rule, kind in rules.items()
        ],
    }
    results = [_sarif_result(each) for each in findings]
    return {"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _sarif_result(found: Finding) -> dict[str, Any]:
    region = {
        "startLine": found.line,
        "startColumn": found.column,
        "endLine": found.end_line,
        "endColumn": found.end_column,
    }
    place = {"artifactLocation": {"uri": Path(found.file).as_posix()}, "region": region}
    return {
        "ruleId": found.rule,
        "level": LEVELS[found.severity],
        "message": {"text": found.explanation},
        "locations": [{"physicalLocation": place}],
        "properties": {"type": found.type, "severity": found.severity, "confidence": found.confidence},
    }
