"""Fits the classifier: which features it keeps, how rare each is, what it weighs; and writes the file."""

from __future__ import annotations

import json
import math
import struct
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags, hstack
from sklearn.preprocessing import normalize
from texts import FAMILIES, Text
from threadpoolctl import threadpool_limits

from rune.policy.scanners import classifier
from rune.policy.scanners.grams import HALF, grams
from rune.policy.scanners.tokens import cut, plain

SIZE = 2 * HALF
WORDS, PIECES = 20, 200
"""Texts that must hold a word or pair, and a piece, for it to be kept: the rare ones are our own wordings."""
LOOSE = 12.0
"""How little large weights are held back: the C of logistic regression."""
ROUNDS = 200
"""Steps towards the least loss: 50 stop early, and find three in a hundred attacks less."""


PROCESSES = 2
"""Draws that are read and fitted at once; each takes some gigabytes."""
ENOUGH = 96_000
"""Texts of a draw from which on `WORDS` and `PIECES` hold; of fewer, features need be in fewer."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Texts to train on, and how often each feature stands in each of them."""

    found: csr_matrix
    texts: Sequence[Text]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained classifier before rounding: numbers of 2 ** 21 features."""

    gain: np.ndarray
    rarity: np.ndarray
    family: np.ndarray
    bias: float


def features(texts: Sequence[str]) -> csr_matrix:
    """How often each feature stands in each text, by its logarithm."""
    columns, values, ends = list[np.ndarray](), list[np.ndarray](), [0]
    for text in texts:
        _, number = grams([word for word in (plain(token) for token, _, _ in cut(text)) if word])
        kept, often = np.unique(number, return_counts=True)
        columns.append(kept.astype(np.int32))
        values.append((1 + np.log(often)).astype(np.float32))
        ends.append(ends[-1] + len(kept))
    return csr_matrix((np.concatenate(values), np.concatenate(columns), np.array(ends)), (len(texts), SIZE))


def fit(draws: Sequence[Draw]) -> Fitted:
    """The mean of a logistic regression for each draw, all over the features that enough texts hold."""
    began = time.monotonic()
    kept, rarity = _kept(draws)
    with ProcessPoolExecutor(PROCESSES) as pool:
        parts = list(pool.map(partial(_fit, kept=kept, rarity=rarity), draws))
    made = Fitted(*(np.mean(each, 0) for each in zip(*parts, strict=True)))
    count = sum(len(draw.texts) for draw in draws)
    sys.stderr.write(f"{count} texts, {len(kept)} features, {time.monotonic() - began:.0f} s\n")
    return Fitted(made.gain, made.rarity, made.family, float(made.bias))


def _kept(draws: Sequence[Draw]) -> tuple[np.ndarray, np.ndarray]:
    """The features that enough texts of all draws hold, and how rare each is."""
    held = sum((np.bincount(draw.found.indices, minlength=SIZE) for draw in draws), np.zeros(SIZE))
    count = sum(len(draw.texts) for draw in draws)
    least = np.where(np.arange(SIZE) < HALF, WORDS, PIECES) * min(len(draws), count / ENOUGH)
    kept = np.flatnonzero(held >= np.maximum(least, 2 * len(draws)))
    rarity = np.log((1 + count) / (1 + held[kept])) + 1
    return kept, np.clip(np.round(rarity * classifier.IDF_STEP), 1, 255) / classifier.IDF_STEP


def _fit(draw: Draw, *, kept: np.ndarray, rarity: np.ndarray) -> tuple[np.ndarray, ...]:
    """The fields of `Fitted` for one draw."""
    border = int(np.searchsorted(kept, HALF))
    scaled = (draw.found[:, kept] @ diags(rarity)).tocsr().astype(np.float32)
    scaled = hstack([normalize(scaled[:, :border]), normalize(scaled[:, border:])]).tocsr()
    label = np.array([text.is_attack for text in draw.texts])
    with threadpool_limits(1):  # sums in the order of one thread, so that a training can be repeated
        weights, bias = _logistic(scaled, label, np.array([text.weight for text in draw.texts], np.float32))
    full = [np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)]
    full[0][kept], full[1][kept] = weights * rarity, rarity
    return full[0], full[1], _families(scaled[:, :border], kept[:border], draw.texts), np.float64(bias)


def _logistic(rows: csr_matrix, label: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias of the least weighted loss, large weights held back."""
    sign = np.where(label, 1.0, -1.0).astype(np.float32)
    turned, width = rows.T.tocsr(), rows.shape[1]

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        point = point.astype(np.float32)
        margin = (rows @ point[:width] + point[width]) * sign
        pull = -sign * weight / (1 + np.exp(np.clip(margin, -60, 60)))
        slope = np.empty(width + 1)
        slope[:width] = turned @ pull + point[:width] / LOOSE
        slope[width] = pull.sum()
        total = (weight * np.logaddexp(0, -margin)).sum() + point[:width] @ point[:width] / (2 * LOOSE)
        return float(total), slope

    options = {"maxiter": ROUNDS, "maxcor": 6}
    found = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B", options=options)
    return found.x[:width].astype(np.float32), float(found.x[width])


def _families(rows: csr_matrix, kept: np.ndarray, texts: Sequence[Text]) -> np.ndarray:
    """How much each word, by its first bits, speaks for each family: its share of the word, by logarithm."""
    shift = int(math.log2(HALF)) - classifier.FAMILY_BITS
    table = np.zeros((1 << classifier.FAMILY_BITS, len(FAMILIES)), np.float32)
    for at, family in enumerate(FAMILIES):
        inside = np.flatnonzero([text.family == family for text in texts])
        counts = np.asarray((rows[inside] > 0).sum(0)).ravel() if len(inside) else np.zeros(len(kept))
        np.add.at(table[:, at], kept >> shift, counts / max(len(inside), 1) * 10_000)
    shares = np.log(table + 1)
    return shares - shares.mean(1, keepdims=True)


def write(fitted: Fitted, path: Path, header: dict[str, Any]) -> None:
    """One file: a magic word, a JSON header, then the arrays."""
    step = max(float(np.abs(fitted.family).max()), 1e-6) / 127
    arrays = {
        "gain": fitted.gain.astype(np.float16),
        "rarity": np.round(fitted.rarity * classifier.IDF_STEP).astype(np.uint8),
        "family": np.round(fitted.family / step).astype(np.int8),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_packed(header | {"bias": fitted.bias}, arrays))


def _packed(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file; the arrays begin where the header's place ends."""
    begin = 4_096
    places: dict[str, Any] = {}
    at = begin
    for name, array in arrays.items():
        places[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": at}
        at += -(-array.nbytes // classifier.ALIGN) * classifier.ALIGN
    text = json.dumps(header | {"arrays": places}, sort_keys=True).encode()
    head = classifier.MAGIC + struct.pack("<I", len(text)) + text
    if len(head) > begin:
        raise ValueError("the header is longer than its place")
    made = bytearray(at)
    made[: len(head)] = head
    for name, array in arrays.items():
        offset = places[name]["offset"]
        made[offset : offset + array.nbytes] = array.tobytes()
    return bytes(made)


def save(fitted: Fitted, path: Path) -> None:
    """The classifier as it is, small, for evaluate.py."""
    np.savez_compressed(path, gain=fitted.gain, rarity=fitted.rarity, family=fitted.family, bias=fitted.bias)


def load(path: Path) -> Fitted:
    """What `save` wrote."""
    with np.load(path) as kept:
        return Fitted(kept["gain"], kept["rarity"], kept["family"], float(kept["bias"]))
