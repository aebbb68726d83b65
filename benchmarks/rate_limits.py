"""Rate limits under 64 connections that all send as fast as they can, to a real runed as it comes.

An organization may send 1,000 events a second, and 1,000 of them at once. From the first byte sent to the
last answer no more than 1,000 and 1,000 for each second may be taken, and no less than 99 % of that.
Run: python benchmarks/rate_limits.py [--seconds 10] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from events_http import runed

A_SECOND = 1_000
LEAST = 0.99


async def measure(folder: Path, asked: argparse.Namespace) -> bool:
    """Batches of 1, of 7 and of 50, since a quota is hardest to use up with what does not divide it."""
    good = True
    with runed(folder / "runed", {}) as ours:
        for batch in (1, 7, 50):
            tally = await ours.turn(
                seconds=asked.seconds, warm_up=1.0, connections=asked.connections, batch=batch
            )
            taken, allowed = sum(tally.accepted.values()), A_SECOND * (1 + tally.lasted)
            good &= LEAST * allowed - batch <= taken <= allowed
            print(
                f"batches of {batch:2}: {taken:6} events in {tally.lasted:.2f} s, {taken / allowed:.2%} of "
                f"the {allowed:,.0f} allowed; {tally.statuses.get('429', 0)} answers of 429"
            )
            await asyncio.sleep(1.1)  # the bucket is full again
    return good


def main() -> None:
    """Exits 1 where the limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=64)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raise SystemExit(0 if asyncio.run(measure(Path(folder), asked)) else 1)


if __name__ == "__main__":
    main()
