"""`rune lint`: files and runesets checked without a server."""

from __future__ import annotations

from typing import Any

import click

from rune.cli import options, output
from rune.cli.runeset import ask_of, found_in, runeset_options
from rune.cli.table import safe
from rune.manifest.lint import Finding, check

INVALID = 6


@click.command(epilog="Examples: rune lint .; rune lint app.yaml -o json; rune lint web/ --set image.tag=1.2")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option("--quiet", is_flag=True, help="Say nothing when all is well.")
@runeset_options
@options.output("text", "json")
def lint(files: tuple[str, ...], *, strict: bool, quiet: bool, output: str, **given: Any) -> int | None:  # noqa: ANN401 - click's way
    """Check files: what a server would refuse, and what is probably not meant. Exit code 6 for errors.

    FILE is a YAML file, a folder with everything in it, a pattern, `-` for stdin, or a runeset: its folder,
    its archive or its address. Required values of a runeset that are not given have stand-ins.
    """
    found = found_in(files, ask_of({**given, "recursive": True}, is_check=True))
    findings = [Finding(problem) for problem in found.problems] + check(found.items)
    findings += [Finding(hint, "warning") for hint in found.hints]
    errors = sum(finding.severity == "error" or strict for finding in findings)
    if output == "json":
        _json(findings, found.count, errors)
    else:
        for finding in findings:
            click.echo(safe(f"{finding.severity}: {finding.problem}"))
        if not quiet or findings:
            warnings = len(findings) - errors
            words = f"{found.count} files, {len(found.items)} resources, {errors} errors, {warnings} warnings"
            click.echo(words, err=True)
    return INVALID if errors else None


def _json(found: list[Finding], count: int, errors: int) -> None:
    rows = [
        {
            "file": finding.problem.spot.file,
            "line": finding.problem.spot.line,
            "column": finding.problem.spot.column,
            "severity": finding.severity,
            "message": finding.problem.message,
            "path": finding.problem.path,
        }
        for finding in found
    ]
    output.write({"files": count, "errorCount": errors, "success": not errors, "findings": rows}, "json")
