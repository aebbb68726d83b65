"""Trains the model that ships: on our own texts and the standard library, then on development data, if given.

    python train.py OUT [--begin-with OWN.npz] [--data FOLDER] [--left-out SCORES.npz] [--size N]

OUT is the file of weights; beside it stand the parameters before rounding (`.npz`), for evaluate.py. The
folder holds `attacks.jsonl.gz` and `benign.jsonl.gz` (see README.md); it is read, and never stored.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import network
import numpy as np
import texts
import words
from calibrate import calibrate

from rune.policy.scanners.network import Network
from rune.policy.scanners.tokens import cut, plain

EPOCHS = 2
WORDS = 36_000
SECOND_RATE = 1.2e-3
BLEND = 0.6
"""The share of the deep reader in a score."""


def main() -> None:
    """Trains, calibrates on harmless texts held back, writes."""
    options = _options()
    if options.begin_with:
        params = load(options.begin_with)
    else:
        params = first_stage(size=options.size, seed=options.seed, cache=options.words)
    rows = (
        [row for row in texts.development(options.data) if row.source in texts.MAY_TRAIN]
        if options.data
        else []
    )
    if rows:
        params = second_stage(params, rows, size=options.size // 3, seed=options.seed)
    save(params, options.out.with_suffix(".npz"))
    header = {"trained_on": "own corpus, standard library" + (", development data" if rows else "")}
    network.write(params, options.out, header | {"calibration": {}}, blend=BLEND)
    calibration = calibrate(options.out, held_back(rows, options.seed), options.left_out)
    network.write(params, options.out, header | {"calibration": calibration}, blend=BLEND)
    sys.stderr.write(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {calibration}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--left-out", type=Path, help="scores of evaluate.py, to set the operating points by")
    parser.add_argument(
        "--begin-with", type=Path, help="what a first stage left (.npz), instead of another one"
    )
    parser.add_argument(
        "--data", type=Path, help="a folder of development data whose licence allows training"
    )
    parser.add_argument(
        "--size", type=int, default=60_000, help="attacks that are spun, and as many harmless texts"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--words", type=Path, default=Path("words.npz"), help="where word vectors are kept between runs"
    )
    return parser.parse_args()


def first_stage(*, size: int, seed: int, cache: Path) -> network.Params:
    """Our own texts alone, from word vectors on."""
    own = texts.Own(seed)
    spun = [*own.attacks(size), *own.benign(size), *texts.library(size // 4, seed)]
    params = network.fresh(seed)
    known, wanted = words.vectors((text.text for text in spun), cache, most=WORDS)
    params["table"] = words.fitted(params["table"] * 0.2, known, wanted, rounds=80)
    return network.train(params, encoded(spun, seed), epochs=EPOCHS, rate=3e-3, seed=seed)


def second_stage(
    params: network.Params, rows: Sequence[texts.Text], *, size: int, seed: int
) -> network.Params:
    """The same, going on with development data among fresh texts of our own."""
    own = texts.Own(seed + 50)
    rows = located(params, rows)
    mixed = [*own.attacks(size), *own.benign(size), *texts.library(size // 4, seed + 50)]
    mixed += texts.drawn(rows, own, count=size, seed=seed)
    mixed += texts.joined([*rows, *own.benign(size // 3)], count=size // 2, seed=seed)
    return network.train(params, encoded(mixed, seed), epochs=2, rate=SECOND_RATE, seed=seed + 7)


def located(params: network.Params, rows: Sequence[texts.Text]) -> list[texts.Text]:
    """The rows, each long attack with the place where the first stage sees it strongest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        network.write(params, path, {}, blend=BLEND)
        reader = Network(path)
        return [_located(reader, row) if row.is_attack else row for row in rows]


def _located(reader: Network, row: texts.Text) -> texts.Text:
    pieces = list(cut(row.text))
    if len(pieces) <= network.LENGTHS[-1]:
        return row
    best = max(reader.read([plain(token) for token, _, _ in pieces]), key=lambda window: window.score)
    at, end = pieces[best.first][1], pieces[best.last - 1][2]
    return replace(row, at=at, length=end - at)


def encoded(found: Sequence[texts.Text], seed: int) -> network.Encoded:
    """One window of each text."""
    rng = random.Random(seed)
    return network.Encoded(found, [network.window(text, rng) for text in found])


def held_back(rows: Sequence[texts.Text], seed: int) -> list[texts.Text]:
    """Harmless texts to calibrate on: other draws, and what development data there is."""
    own = texts.Own(seed + 99)
    return [*own.benign(3_000), *texts.library(1_000, seed + 99), *(row for row in rows if not row.is_attack)]


def save(params: network.Params, path: Path) -> None:
    """The parameters as they are, so that evaluate.py can go on from them."""
    np.savez(path, **{name: np.asarray(value) for name, value in params.items()})


def load(path: Path) -> network.Params:
    """What `save` wrote."""
    with np.load(path) as kept:
        return {name: jnp.asarray(kept[name]) for name in kept.files}


if __name__ == "__main__":
    main()
