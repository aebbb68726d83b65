"""How much of known attacks the pattern layer finds, per source, and how often it is wrong on harmless text.

    python benchmarks/scan_detect.py DATA_FOLDER [--sample N] [--look SOURCE]

The folder holds `attacks.jsonl.gz` and `benign.jsonl.gz`, one object a line with `text`, `source`, `kind`
and an optional `tier`. Long clean documents are made by joining harmless texts. `--look` prints errors.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rune.policy.scanners.finding import BLOCK_AT, FLAG_AT, risk_score
from rune.policy.scanners.patterns import PatternScanner

Row = dict[str, Any]
Score = tuple[int, int, int]
"""Rows, of them flagged, of them blocked."""


def main() -> None:
    """Prints one table: recall per source, then false alarms per source, then long documents."""
    options = _options()
    scanner = PatternScanner()
    attacks = _sample(list(_rows(options.data / "attacks.jsonl.gz")), options.sample)
    benign = _sample(list(_rows(options.data / "benign.jsonl.gz")), options.sample)
    if options.look:
        return _look(scanner, [r for r in attacks + benign if r["source"] == options.look], options.data)
    _table(scanner, "attacks", attacks)
    _table(scanner, "harmless", benign)
    plain = [row["text"] for row in benign if row["kind"] == "benign"]
    for size, count in ((4_000, 200), (100_000, 20)):
        _documents(scanner, plain, size=size, count=count)
    return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="rows per source, 0 for all")
    parser.add_argument("--look", default="", help="print what one source gets wrong")
    return parser.parse_args()


def _rows(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _sample(rows: list[Row], limit: int) -> list[Row]:
    if not limit:
        return rows
    chosen: dict[str, list[Row]] = defaultdict(list)
    for row in random.Random(7).sample(rows, len(rows)):  # noqa: S311 - repeatable, not secret
        if len(chosen[row["source"]]) < limit:
            chosen[row["source"]].append(row)
    return [row for group in chosen.values() for row in group]


def _risk(scanner: PatternScanner, text: str) -> float:
    return risk_score(scanner.scan(text, direction="input", source="chat"))


def _table(scanner: PatternScanner, title: str, rows: Sequence[Row]) -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        risk = _risk(scanner, row["text"])
        for name in (f"{row['source']} {row['kind']} {row.get('tier') or ''}", f"ALL {row['kind']}", "ALL"):
            groups[name].append(risk)
    sys.stdout.write(f"\n{title:60} rows  flag %  block %\n")
    for name, risks in sorted(groups.items()):
        flagged, blocked = (100 * sum(r >= at for r in risks) / len(risks) for at in (FLAG_AT, BLOCK_AT))
        sys.stdout.write(f"{name:60} {len(risks):4}  {flagged:6.2f}  {blocked:6.2f}\n")


def _documents(scanner: PatternScanner, texts: list[str], *, size: int, count: int) -> None:
    chance, risks = random.Random(3), list[float]()  # noqa: S311 - repeatable, not secret
    for _ in range(count):
        parts, length = list[str](), 0
        while length < size:
            parts.append(chance.choice(texts))
            length += len(parts[-1]) + 2
        risks.append(_risk(scanner, "\n\n".join(parts)[:size]))
    flagged, blocked = (100 * sum(r >= at for r in risks) / len(risks) for at in (FLAG_AT, BLOCK_AT))
    sys.stdout.write(
        f"{f'clean documents of {size} characters':60} {count:4}  {flagged:6.2f}  {blocked:6.2f}\n"
    )


def _look(scanner: PatternScanner, rows: Sequence[Row], _data: Path) -> None:
    for row in rows:
        findings = scanner.scan(row["text"], direction="input", source="chat")
        risk, harmless = risk_score(findings), row["kind"].startswith("benign")
        if harmless == (risk >= FLAG_AT):
            shown = row["text"][:500].replace("\n", "\\n")
            sys.stdout.write(f"{risk:.2f} {[(f.rule, f.confidence) for f in findings]} {shown}\n")


if __name__ == "__main__":
    main()
