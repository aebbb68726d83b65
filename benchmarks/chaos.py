"""24 disturbances of one runed, each got over: how long until everything is as it is wanted again.

Kills of runed, of instances, of containers and of dockerd, a full disk and probes that answer wrong or not
at all, in an order that a seed decides. The time is that from the end of the cause to the wanted state; that
nothing acknowledged was lost and nothing was disturbed that was not hit is checked after each. Run:
`python benchmarks/chaos.py [SEED]`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import chaos
import engines

ROUNDS = 24
SEED = 2026


def main(folder: Path, engine: engines.Engine | None, seed: int) -> None:
    """Print the table."""
    print(f"seed {seed}")
    print(
        f"{'':>2} {'disturbance':<34} {'hit':>3} {'well after':>10} {'writes':>6} {'refused':>7} {'lines':>6}"
    )
    done: list[chaos.Round] = []

    def tell(one: chaos.Round) -> None:
        done.append(one)
        print(
            f"{len(done):>2} {one.kind + one.what:<34} {len(one.hit):>3} {one.seconds:>8.2f} s "
            f"{one.acknowledged:>6} {one.refused:>7} {one.lines:>6}",
            flush=True,
        )

    left_out = asyncio.run(chaos.played(folder, engine=engine, seed=seed, count=ROUNDS, tell=tell))
    seconds = [one.seconds for one in done]
    if left_out:
        print(f"without a full disk: {left_out}")
    print(
        f"{len(done)} rounds, well again after {statistics.median(seconds):.2f} s (most {max(seconds):.2f} s)"
    )
    acknowledged = sum(one.acknowledged for one in done)
    print(f"0 of {acknowledged} acknowledged writes lost, nothing started again that was not hit")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch, engines.if_possible() as found:
        main(Path(scratch), found, int(sys.argv[1]) if len(sys.argv) > 1 else SEED)
