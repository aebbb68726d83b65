"""Turns scores into confidences: what length costs a text, and where flagging and blocking begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from texts import documents

from rune.policy.scanners.classifier import Classifier
from rune.policy.scanners.finding import BLOCK_AT, FLAG_AT, WEIGHTS
from rune.policy.scanners.similarity import SEVERITY, places

FLAGGED, BLOCKED = 0.02, 0.004
"""The share of harmless texts, hard ones included, that may be flagged, and blocked."""
NOTHING = -20.0
"""The score of a text without a word."""
LENGTHS = (4_000, 16_000, 60_000)
DOCUMENTS = 60
"""Documents of each length that `rise` is fitted on."""


@dataclass(frozen=True, slots=True)
class Scores:
    """For each text the score of its strongest window, and how many windows it has."""

    best: np.ndarray
    count: np.ndarray

    @classmethod
    def nothing(cls, count: int) -> Scores:
        """The scores of texts without words."""
        return cls(np.full(count, NOTHING), np.ones(count))

    def put(self, places: Sequence[int], found: Scores) -> None:
        """Takes over the scores of some of the texts."""
        self.best[places], self.count[places] = found.best, found.count

    def fair(self, rise: float) -> np.ndarray:
        """The score that decides: the strongest window's, less what length costs."""
        return self.best - rise * np.log2(self.count)


def scored(path: Path, found: Sequence[str]) -> Scores:
    """The scores of texts, read as the product reads them."""
    classifier = Classifier(path)
    scores = Scores.nothing(len(found))
    for at, text in enumerate(found):
        for place in places(classifier, text):
            scores.best[at] = max(scores.best[at], place.score)
            scores.count[at] = max(scores.count[at], place.windows)
    return scores


def risen(path: Path, clean: Sequence[str]) -> float:
    """What length costs the strongest window, so that length alone flags no document.

    The classifier must not have been trained on these texts.
    """
    mark = np.quantile(scored(path, clean).best, 1 - FLAGGED)
    found = [0.0]
    for size in LENGTHS:
        made = scored(path, documents(clean, size=size, count=DOCUMENTS, seed=11))
        above = float(np.quantile(made.best, 1 - FLAGGED) - mark)
        found.append(above / math.log2(float(np.median(made.count))))
    return max(found)


def fitted(fair: np.ndarray, *, rise: float) -> dict[str, float]:
    """A logistic curve through both operating points of harmless scores: the numbers of `Calibration`."""
    flag, block = (float(np.quantile(fair, 1 - share)) for share in (FLAGGED, BLOCKED))
    flag_at, block_at = (least / WEIGHTS[SEVERITY] for least in (FLAG_AT, BLOCK_AT))
    slope = (_logit(block_at) - _logit(flag_at)) / max(block - flag, 0.05)
    return {
        "slope": slope,
        "offset": _logit(flag_at) - slope * flag,
        "rise": rise,
        "flag_at": flag_at,
        "block_at": block_at,
    }


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
