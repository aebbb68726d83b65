"""Says whether two files of weights are the same training: the same bytes, or sums rounded otherwise.

    python compare.py ONE TWO

Another processor adds in another order, and rounds otherwise: then both must keep the same features, equally
rare, and weigh them alike. Ends with 1 where they differ by more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rune.policy.scanners.classifier import Classifier

ALIKE = 0.9999
"""The least correlation of the weights of two runs of one training."""


def main(one: Path, two: Path) -> int:
    """Prints what differs."""
    if one.read_bytes() == two.read_bytes():
        sys.stdout.write("the same bytes\n")
        return 0
    first, second = Classifier(one), Classifier(two)
    same = bool((first.rarity == second.rarity).all())
    gains = np.stack([first.gain.astype(np.float64), second.gain.astype(np.float64)])
    alike = float(np.corrcoef(gains)[0, 1])
    furthest = float(np.abs(gains[0] - gains[1]).max())
    kept = "the same" if same else "differ"
    sys.stdout.write(f"features {kept}, weights correlate by {alike:.7f}, furthest {furthest:.4f}\n")
    return 0 if same and alike >= ALIKE else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
