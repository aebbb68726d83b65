"""Turns scores into confidences: how they rise with length, and where flagging and blocking begin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from texts import Text, documents

from rune.policy.scanners.finding import BLOCK_AT, FLAG_AT, WEIGHTS
from rune.policy.scanners.network import Network
from rune.policy.scanners.similarity import SEVERITY
from rune.policy.scanners.tokens import cut, plain

FLAGGED, BLOCKED = 0.05, 0.006
"""The share of harmless texts, hard ones included, that may be flagged, and blocked."""
CALM = 0.98
"""The share of our own texts that documents are made of."""
LENGTHS = (1_000, 4_000, 16_000, 60_000)


def scores(network: Network, found: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each text the score of its strongest window, and how many windows it has."""
    best, count = np.full(len(found), -20.0), np.ones(len(found))
    for at, text in enumerate(found):
        windows = network.read([plain(token) for token, _, _ in cut(text)])
        if windows:
            best[at], count[at] = max(window.score for window in windows), len(windows)
    return best, count


def calibrate(path: Path, harmless: Sequence[Text], left_out: Path | None = None) -> dict[str, float]:
    """The numbers of `similarity.Calibration` for these weights.

    The operating points are those of texts that training left out, where evaluate.py has measured them:
    on texts that were trained on, every threshold looks better than it is.
    """
    network = Network(path)
    best, count = scores(network, [text.text for text in harmless])
    rise = max(_rises(network, harmless, best))
    if left_out is not None:
        with np.load(left_out) as kept:
            unseen = kept["may_train"]
            best, count = kept["left_out"][unseen], kept["windows"][unseen]
    fair = best - rise * np.sqrt(np.log2(count))
    flag, block = (float(np.quantile(fair, 1 - share)) for share in (FLAGGED, BLOCKED))
    return _fitted(flag, block, rise=rise)


def _fitted(flag: float, block: float, *, rise: float) -> dict[str, float]:
    """A logistic curve through both operating points, where a finding weighs what flags and blocks."""
    flag_at, block_at = (least / WEIGHTS[SEVERITY] for least in (FLAG_AT, BLOCK_AT))
    slope = (_logit(block_at) - _logit(flag_at)) / max(block - flag, 0.05)
    return {
        "slope": slope,
        "offset": _logit(flag_at) - slope * flag,
        "rise": rise,
        "flag_at": flag_at,
        "block_at": block_at,
    }


def _rises(network: Network, harmless: Sequence[Text], best: np.ndarray) -> Iterator[float]:
    """How far the flagging point of long harmless documents lies above that of the texts they are made of.

    Those are development texts where there are any: nearly all of our own harmless texts are hard on purpose,
    and a document that quotes attacks outright is not what is meant by clean.
    """
    real = [at for at, text in enumerate(harmless) if text.source not in {"own", "library"}]
    inside = real or [at for at, text in enumerate(harmless) if text.source == "own"]
    base, edge = np.quantile(best[inside], [1 - FLAGGED, CALM])
    calm = [harmless[at].text for at in inside if real or best[at] <= edge]
    for size in LENGTHS:
        made, count = scores(network, documents(calm, size=size, count=60, seed=11))
        rise = float(np.quantile(made, 1 - FLAGGED) - base)
        yield rise / math.sqrt(math.log2(max(float(np.median(count)), 2)))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
