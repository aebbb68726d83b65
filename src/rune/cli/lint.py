"""`rune lint`: files checked without a server."""

from __future__ import annotations

import click

from rune.cli import options, output
from rune.cli.files import items_of
from rune.manifest.lint import Finding, check

INVALID = 6


@click.command(epilog="Examples: rune lint .; rune lint app.yaml -o json; rune lint - < app.yaml")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option("--quiet", is_flag=True, help="Say nothing when all is well.")
@options.output("text", "json")
def lint(files: tuple[str, ...], *, strict: bool, quiet: bool, output: str) -> int | None:
    """Check files: what a server would refuse, and what is probably not meant. Exit code 6 for errors."""
    items, problems, count = items_of(files)
    found = [Finding(problem) for problem in problems] + check(items)
    errors = sum(finding.severity == "error" or strict for finding in found)
    if output == "json":
        _json(found, count, errors)
    else:
        for finding in found:
            click.echo(f"{finding.severity}: {finding.problem}")
        if not quiet or found:
            words = f"{count} files, {len(items)} resources, {errors} errors, {len(found) - errors} warnings"
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
