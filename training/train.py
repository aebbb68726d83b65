"""Trains the classifier that ships: on our own texts, the standard library and, if given, development data.

    python train.py OUT --points FOLDER --rise 0.5         the weights that ship
    python train.py OUT [--data FOLDER] [--begin-with FITTED.npz] [--scores SCORES.npz] [--size N]

OUT is the file of weights; beside it stand the weights before rounding (`.npz`). A folder holds
`attacks.jsonl.gz` and `benign.jsonl.gz` (see README.md); it is read, and never stored. `--points` only sets
where flagging and blocking begin, `--data` trains as well.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import linear
import numpy as np
import scipy
import texts
from calibrate import fitted, risen, scored

LIBRARY = 0.4
"""Stretches of the standard library for each attack of our own."""
INSIDE = 0.3
"""Documents that hold an attack, and as many that hold none, for each attack of our own."""


def main() -> None:
    """Trains, sets the operating points, writes."""
    options = _options()
    rows = trainable(texts.development(options.data)) if options.data else []
    made = linear.load(options.begin_with) if options.begin_with else _trained(rows, options)
    linear.save(made, options.out.with_suffix(".npz"))
    header: dict[str, Any] = {
        "trained_on": "own corpus, standard library" + (", development data" if rows else ""),
        "made_with": f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}",
    }
    linear.write(made, options.out, header)
    header["calibration"] = points(options)
    linear.write(made, options.out, header)
    sys.stderr.write(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {header['calibration']}\n")


def _trained(rows: Sequence[texts.Text], options: argparse.Namespace) -> linear.Fitted:
    seeds = range(options.seed, options.seed + options.draws)
    with ProcessPoolExecutor(linear.PROCESSES) as pool:
        draws = list(pool.map(partial(_draw, rows, options.size), seeds))
    return linear.fit(draws)


def _draw(rows: Sequence[texts.Text], size: int, seed: int) -> linear.Draw:
    found = [*own_texts(size=size, seed=seed), *drawn(rows, size=size, seed=seed)]
    found += joined(rows, size=size, seed=seed)
    return linear.Draw(linear.features([text.text for text in found]), found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--begin-with", type=Path, help="an earlier .npz: only set the operating points")
    parser.add_argument("--points", type=Path, help="a folder of data to set the operating points by")
    parser.add_argument("--scores", type=Path, help="of evaluate.py, to set the operating points by")
    parser.add_argument(
        "--data", type=Path, help="a folder of development data whose licence allows training"
    )
    parser.add_argument(
        "--size", type=int, default=36_000, help="attacks that are spun, and as many harmless texts"
    )
    parser.add_argument("--rise", type=float, help="what length costs, instead of what was measured")
    parser.add_argument("--seed", type=int, default=1, help="of the first draw")
    parser.add_argument("--draws", type=int, default=5, help="trainings whose mean is written")
    return parser.parse_args()


def own_texts(*, size: int, seed: int) -> list[texts.Text]:
    """Our own attacks and harmless texts, stretches of the library, and documents of both."""
    own = texts.Own(seed)
    spun = [*own.attacks(size), *own.benign(size), *texts.library(int(size * LIBRARY), seed)]
    return [*spun, *texts.Own(seed + 70).inside(int(size * INSIDE), seed + 72)]


def trainable(rows: Sequence[texts.Text]) -> list[texts.Text]:
    """The rows of sources whose licence lets shipped weights be trained on them."""
    return [row for row in rows if row.source in texts.MAY_TRAIN]


def drawn(rows: Sequence[texts.Text], *, size: int, seed: int) -> list[texts.Text]:
    """Development data, sources by the root of their size, some of it in carriers of ours."""
    return list(texts.drawn(rows, texts.Own(seed + 50), count=size // 6, seed=seed))


def joined(rows: Sequence[texts.Text], *, size: int, seed: int) -> list[texts.Text]:
    """Documents joined of harmless development data."""
    return list(texts.joined(rows, count=size // 12, seed=seed))


def points(options: argparse.Namespace) -> dict[str, float]:
    """The operating points: from texts that training left out, if measured, else from fresh ones."""
    if options.scores is not None:
        with np.load(options.scores) as kept:
            way = "left_out" if options.data else "own"
            rise = float(kept[f"{way}_rise"]) if options.rise is None else options.rise
            return fitted(kept[way][kept["may_train"]], rise=rise)
    if options.points is not None:
        known = [row for row in trainable(texts.development(options.points)) if not row.is_attack]
        return _fitted(options, [row.text for row in known])
    fresh = own_texts(size=2_000, seed=options.seed + 99)
    return _fitted(options, [text.text for text in fresh if not text.is_attack])


def _fitted(options: argparse.Namespace, harmless: Sequence[str]) -> dict[str, float]:
    rise = risen(options.out, harmless) if options.rise is None else options.rise
    return fitted(scored(options.out, harmless).fair(rise), rise=rise)


if __name__ == "__main__":
    main()
