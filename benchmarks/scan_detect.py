"""How much of known attacks Rune finds, per source, and how often it errs on harmless text; beside peers.

    python benchmarks/scan_detect.py DATA_FOLDER [--sample N] [--look SOURCE]

The folder holds `attacks.jsonl.gz` and `benign.jsonl.gz`, one object a line with `text`, `source`, `kind`
and an optional `tier`. The weights that ship were trained on our own texts alone and have seen none of it.
Long documents are joined of harmless texts, with and without an attack. Peers are measured where installed
(`pip install ai-injection-guard clawguard-core`). `--look` prints what L1 and L2 together get wrong.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rune import Shield

Row = dict[str, Any]
Detector = Callable[[str], float]
Scores = NDArray[np.float64]
DOCUMENTS = ((4_000, 200), (100_000, 20))
SHARES = (0.01, 0.05)
HIDDEN = 600
"""Characters that an attack hidden in a document has at most."""
PEERS = {
    "ai-injection-guard": ("prompt_shield", "PromptScanner"),
    "clawguard-core": ("clawguard_core", "Scanner"),
}
"""Rule scanners that work offline: the module, and the class whose `scan` gives a `risk_score`."""


def main() -> None:
    """Prints a table of totals, then one per source and for long documents."""
    options = _options()
    rows = list(_rows(options.data))
    if options.look:
        return _look([row for row in rows if row["source"] == options.look])
    chosen = _sample(rows, options.sample)
    names, scores = list[str](), list[Scores]()
    for name, detector in _detectors():
        began = time.perf_counter()
        scores.append(np.array([detector(row["text"]) for row in chosen]))
        names.append(f"{name} ({(time.perf_counter() - began) / len(chosen) * 1e3:.2f} ms a text)")
    _totals(names, scores, chosen)
    _sources(names, scores, chosen)
    _documents(chosen)
    return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="rows per source, 0 for all")
    parser.add_argument("--look", default="", help="print what one source gets wrong")
    return parser.parse_args()


def _rows(folder: Path) -> Iterator[Row]:
    for name in ("attacks", "benign"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line) | {"attack": name == "attacks"}


def _sample(rows: list[Row], limit: int) -> list[Row]:
    if not limit:
        return rows
    chosen: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in random.Random(7).sample(rows, len(rows)):  # noqa: S311 - repeatable, not secret
        group = chosen[row["source"], row["attack"]]
        if len(group) < limit:
            group.append(row)
    return [row for group in chosen.values() for row in group]


def _detectors() -> Iterator[tuple[str, Detector]]:
    """L1, both layers as they ship, and the peers that are installed."""
    for name, l2 in (("L1", False), ("L1 + L2 as shipped", True)):
        shield = Shield(events_enabled=False, l2_enabled=l2)
        yield name, lambda text, shield=shield: shield.scan_input(text).risk_score
    for name, (module, scanner) in PEERS.items():
        try:
            peer: Any = getattr(importlib.import_module(module), scanner)()
        except ImportError:
            sys.stdout.write(f"{name} is not installed and is left out\n")
            continue
        yield name, lambda text, peer=peer: float(peer.scan(text).risk_score)


def _totals(names: Sequence[str], scores: Sequence[Scores], rows: Sequence[Row]) -> None:
    attack = np.array([row["attack"] for row in rows])
    explicit = np.array([row["attack"] and row.get("tier") != "implicit" for row in rows])
    hard = np.array([row["kind"] == "benign_hard" for row in rows])
    header = "AUROC  at 1 %  explicit  hard fp  at 5 %  explicit  hard fp"
    sys.stdout.write(
        f"{len(rows)} texts, {attack.sum()} attacks, {explicit.sum()} explicit, {hard.sum()} hard\n"
    )
    sys.stdout.write(f"\n{'recall at a share of harmless texts':52} {header}\n")
    for name, score in zip(names, scores, strict=True):
        line = f"{name:52} {_auroc(score, attack):5.3f}"
        for share in SHARES:
            mark = _mark(score[~attack], share)
            line += "".join(
                f" {100 * (score[group] > mark).mean():7.1f}" for group in (attack, explicit, hard)
            )
        sys.stdout.write(line + "\n")


def _mark(harmless: Scores, share: float) -> float:
    """The lowest score that at most this share of the harmless texts is above."""
    return float(np.quantile(harmless, 1 - share, method="higher"))


def _auroc(score: Scores, attack: NDArray[np.bool_]) -> float:
    """The chance that an attack scores higher than a harmless text; a draw counts half."""
    harmless = np.sort(score[~attack])
    below = np.searchsorted(harmless, score[attack], "left") + np.searchsorted(
        harmless, score[attack], "right"
    )
    return float(below.mean() / 2 / len(harmless))


def _sources(names: Sequence[str], scores: Sequence[Scores], rows: Sequence[Row]) -> None:
    groups: dict[str, list[int]] = defaultdict(list)
    attack = np.array([row["attack"] for row in rows])
    for at, row in enumerate(rows):
        groups[f"{'attack' if row['attack'] else 'harmless'} {row['source']} {row.get('tier') or ''}"].append(
            at
        )
    for name, score in zip(names, scores, strict=True):
        marks = [_mark(score[~attack], share) for share in SHARES]
        sys.stdout.write(f"\n{name:60} rows  % above 1 %  % above 5 %\n")
        for group, inside in sorted(groups.items()):
            above = [100 * (score[inside] > mark).mean() for mark in marks]
            sys.stdout.write(f"{group:60} {len(inside):4}  {above[0]:11.1f}  {above[1]:11.1f}\n")


def _documents(rows: Sequence[Row]) -> None:
    """Long documents joined of harmless texts: as they are, and with one plain and short attack inside."""
    texts = [row["text"] for row in rows if row["kind"] == "benign"]
    attacks = [
        row["text"]
        for row in rows
        if row["attack"] and row.get("tier") != "implicit" and len(row["text"]) < HIDDEN
    ]
    sys.stdout.write(f"\n{'documents':40}   rows  clean: flag %  block %  with an attack: flag %  block %\n")
    for l2 in (False, True):
        shield = Shield(events_enabled=False, l2_enabled=l2)
        for size, count in DOCUMENTS:
            clean = list(_joined(texts, size=size, count=count))
            figures = [*_flagged(shield, clean), *_flagged(shield, list(_hidden(clean, attacks)))]
            title = f"{'L1 + L2' if l2 else 'L1'}, {size} characters"
            shown = "  ".join(f"{figure:12.1f}" for figure in figures)
            sys.stdout.write(f"{title:40}   {count:4}  {shown}\n")


def _flagged(shield: Shield, texts: Sequence[str]) -> tuple[float, float]:
    found = [shield.scan_input(text) for text in texts]
    flagged = sum(result.risk_score >= shield.config.flag_threshold for result in found)
    return 100 * flagged / len(texts), 100 * sum(result.blocked for result in found) / len(texts)


def _hidden(clean: Sequence[str], attacks: Sequence[str]) -> Iterator[str]:
    chance = random.Random(4)  # noqa: S311 - repeatable, not secret
    for text in clean:
        at = max(text.find("\n\n", chance.randrange(len(text))), 0)
        yield f"{text[:at]}\n\n{chance.choice(attacks)}\n\n{text[at:]}"


def _joined(texts: Sequence[str], *, size: int, count: int) -> Iterator[str]:
    chance = random.Random(3)  # noqa: S311 - repeatable, not secret
    for _ in range(count):
        parts, length = list[str](), 0
        while length < size:
            parts.append(chance.choice(texts))
            length += len(parts[-1]) + 2
        yield "\n\n".join(parts)[:size]


def _look(rows: Sequence[Row]) -> None:
    shield = Shield(events_enabled=False, l2_enabled=True)
    for row in rows:
        result = shield.scan_input(row["text"])
        if row["attack"] != (result.risk_score >= 0.5):
            found = [(threat["rule"], threat["confidence"]) for threat in result.threats_detected]
            shown = row["text"][:500].replace("\n", "\\n")
            sys.stdout.write(f"{result.risk_score:.2f} {found} {shown}\n")


if __name__ == "__main__":
    main()
