"""How much of known attacks Rune finds, and how often it errs on harmless text; beside peers.

    python benchmarks/scan_detect.py [DATA_FOLDER] [--peers .venv-peers] [--sample N] [--look SOURCE]

The folder holds `attacks.jsonl.gz` and `benign.jsonl.gz`, one object a line with `text`, `source`, `kind`
and an optional `tier`; without it only the harmless sets of our own are measured. The weights that ship were
trained on our own texts alone and have seen none of it, so that every source is one left out; what the data
could still flatter is the threshold, and each source is measured at one that all other origins set.
Peers run in an environment of their own (benchmarks/scans/peers.py says how it is made). `--look` prints what
L1 and L2 together get wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scans import peers, texts
from scans.texts import Row

from rune import ScanResult, Shield

Scores = NDArray[np.float64]
Marked = NDArray[np.bool_]
DOCUMENTS = ((4_000, 200), (100_000, 20))
SHARES = (0.01, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a detector says of each text: a score, what it flags and what it blocks by its own default."""

    name: str
    scores: Scores
    flagged: Marked
    blocked: Marked


def main() -> None:
    """Prints totals, each source, harmless classes and long documents."""
    options = _options()
    data = texts.sample(list(texts.development(options.data)), options.sample) if options.data else []
    if options.look:
        return _look([row for row in data if row["source"] == options.look])
    own = [row for name in texts.OWN for row in texts.own(name)]
    rows = [*data, *own]
    measured = [*_layers(rows), *_beside(rows, options.peers)]
    if not data:
        sys.stdout.write("no folder of data is given: only our own harmless sets are measured\n")
        return _classes(measured, rows, [None] * len(measured))
    inside = np.arange(len(rows)) < len(data)
    marks = [[_mark(each.scores[inside & _harmless(rows)], share) for share in SHARES] for each in measured]
    _totals(measured, rows, inside)
    _sources(measured, rows, inside)
    _classes(measured, rows, marks)
    return _documents(data, marks[:2])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"), help="their environment")
    parser.add_argument("--sample", type=int, default=0, help="rows per source, 0 for all")
    parser.add_argument("--look", default="", help="print what one source gets wrong")
    return parser.parse_args()


def _layers(rows: Sequence[Row]) -> list[Measured]:
    """L1, and both layers as they ship."""
    found: list[Measured] = []
    for name, l2 in (("L1", False), ("L1 + L2", True)):
        shield = Shield(events_enabled=False, l2_enabled=l2)
        shield.scan_input("the first scan loads what is needed")
        began = time.process_time()
        results = [shield.scan_input(row["text"]) for row in rows]
        spent = (time.process_time() - began) / len(rows) * 1e3
        scores = np.array([result.risk_score for result in results])
        flagged, blocked = scores >= shield.config.flag_threshold, [result.blocked for result in results]
        title = f"{name} ({spent:.2f} ms)"
        found.append(Measured(name=title, scores=scores, flagged=flagged, blocked=np.array(blocked)))
    return found


def _beside(rows: Sequence[Row], folder: Path) -> list[Measured]:
    """The peers; they know one verdict, which counts as flagged and blocked."""
    return [
        Measured(
            name=f"{each.name} ({each.milliseconds:.2f} ms)",
            scores=np.array(each.scores),
            flagged=np.array(each.flagged),
            blocked=np.array(each.flagged),
        )
        for each in peers.measured(folder, [row["text"] for row in rows])
    ]


def _harmless(rows: Sequence[Row]) -> Marked:
    return np.array([not row["attack"] for row in rows])


def _totals(measured: Sequence[Measured], rows: Sequence[Row], inside: Marked) -> None:
    """Recall at shares of all harmless texts, and what the product's own defaults find."""
    attack = ~_harmless(rows)
    plain = np.array([texts.is_plain(row) for row in rows])
    hard = inside & np.array([row["kind"] == "benign_hard" for row in rows])
    counts = f"{attack.sum()} attacks, {plain.sum()} of them plain, {(inside & ~attack).sum()} harmless texts"
    sys.stdout.write(f"{counts}, {hard.sum()} of them hard\n\n{'recall at a share of harmless texts':36} ")
    sys.stdout.write("AUROC |  1 %  plain   hard fp |  5 %  plain  hard fp | defaults: flag  plain  block\n")
    for each in measured:
        line = f"{each.name:36} {_auroc(each.scores[inside], attack[inside]):5.3f}"
        for share in SHARES:
            above = each.scores > _mark(each.scores[inside & ~attack], share)
            line += " |" + "".join(f"{_share(above, group):7.1f}" for group in (attack, plain, hard))
        shown = [(each.flagged, attack), (each.flagged, plain), (each.blocked, attack)]
        sys.stdout.write(line + " |" + "".join(f"{_share(*pair):7.1f}" for pair in shown) + "\n")


def _sources(measured: Sequence[Measured], rows: Sequence[Row], inside: Marked) -> None:
    """Each source at the defaults, and at thresholds that the harmless texts of all other origins set."""
    origins = np.array([texts.origin(row) for row in rows])
    harmless = inside & _harmless(rows)
    groups: dict[tuple[bool, str, str], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        if inside[at]:
            groups[not row["attack"], f"{row['source']} {row.get('tier') or ''}", texts.origin(row)].append(
                at
            )
    for each in measured:
        sys.stdout.write(f"\n{each.name:44} rows  flag %  block %  > 1 %  > 5 %, by all other origins\n")
        for (calm, group, origin), at in sorted(groups.items()):
            others = each.scores[harmless & (origins != origin)]
            above = [100 * (each.scores[at] > _mark(others, share)).mean() for share in SHARES]
            shown = (100 * each.flagged[at].mean(), 100 * each.blocked[at].mean(), *above)
            title = f"{'harmless' if calm else 'attack'} {group}"
            sys.stdout.write(f"{title:44} {len(at):4} " + "".join(f"{x:7.1f}" for x in shown) + "\n")


def _classes(measured: Sequence[Measured], rows: Sequence[Row], marks: Sequence[list[float] | None]) -> None:
    """Kinds of harmless text: what is flagged, blocked, and above the threshold that 1 % of all reach."""
    kinds: dict[str, Callable[[Row], bool]] = {
        "plain": lambda row: row["kind"] == "benign",
        "hard": lambda row: row["kind"] == "benign_hard" and not row["source"].startswith("own_"),
        "quoting documents (ours)": lambda row: row["source"] == "own_quoting",
        "act as (ours)": lambda row: row["source"] == "own_roles",
        "act as (awesome_chatgpt_prompts)": lambda row: row["source"] == "awesome_chatgpt_prompts",
    }  # fmt: skip
    for each, mark in zip(measured, marks, strict=True):
        sys.stdout.write(f"\n{each.name:44} rows  flag %  block %  > 1 %\n")
        for title, belongs in kinds.items():
            _class(each, title, [at for at, row in enumerate(rows) if belongs(row)], mark=mark)


def _class(each: Measured, title: str, inside: list[int], *, mark: list[float] | None) -> None:
    if not inside:
        return
    above = f"{100 * (each.scores[inside] > mark[0]).mean():7.1f}" if mark else ""
    flagged, blocked = 100 * each.flagged[inside].mean(), 100 * each.blocked[inside].mean()
    sys.stdout.write(f"{title:44} {len(inside):4} {flagged:7.1f}{blocked:7.1f}{above}\n")


def _documents(rows: Sequence[Row], marks: Sequence[list[float]]) -> None:
    """Long documents joined of harmless texts: as they are, and with one plain and short attack inside."""
    sys.stdout.write(
        f"\n{'documents':30} rows | clean: flag  block  > 1 % | attack inside: flag  block  > 1 %\n"
    )
    for (name, l2), mark in zip((("L1", False), ("L1 + L2", True)), marks, strict=True):
        shield = Shield(events_enabled=False, l2_enabled=l2)
        for size, count in DOCUMENTS:
            clean = texts.joined(rows, size=size, count=count)
            line = f"{f'{name}, {size} characters':30} {count:4}"
            for made in (clean, texts.hidden(clean, rows)):
                found = _flagged(
                    shield.scan_input, made, threshold=shield.config.flag_threshold, mark=mark[0]
                )
                line += " |" + "".join(f"{figure:8.1f}" for figure in found)
            sys.stdout.write(line + "\n")


def _flagged(
    scan: Callable[[str], ScanResult], made: Sequence[str], *, threshold: float, mark: float
) -> tuple[float, float, float]:
    found = [scan(text) for text in made]
    risks = np.array([result.risk_score for result in found])
    blocked = 100 * sum(result.blocked for result in found) / len(found)
    return 100 * (risks >= threshold).mean(), blocked, 100 * (risks > mark).mean()


def _share(above: Marked, group: Marked) -> float:
    return 100 * float(above[group].mean())


def _mark(harmless: Scores, share: float) -> float:
    """The lowest score that at most this share of the harmless texts is above."""
    return float(np.quantile(harmless, 1 - share, method="higher"))


def _auroc(score: Scores, attack: Marked) -> float:
    """The chance that an attack scores higher than a harmless text; a draw counts half."""
    harmless = np.sort(score[~attack])
    low, high = (np.searchsorted(harmless, score[attack], side) for side in ("left", "right"))
    return float((low + high).mean() / 2 / len(harmless))


def _look(rows: Sequence[Row]) -> None:
    shield = Shield(events_enabled=False, l2_enabled=True)
    for row in rows:
        result = shield.scan_input(row["text"])
        if row["attack"] != (result.risk_score >= shield.config.flag_threshold):
            found = [(threat["rule"], threat["confidence"]) for threat in result.threats_detected]
            shown = row["text"][:500].replace("\n", "\\n")
            sys.stdout.write(f"{result.risk_score:.2f} {found} {shown}\n")


if __name__ == "__main__":
    main()
