"""Time and memory of the pattern layer, beside the bare hyperscan call; then of L1 and L2 together.

python benchmarks/scan_speed.py
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rune.policy.scanners.patterns import PatternScanner

WORDS = [
    "the",
    "quarterly",
    "report",
    "shows",
    "that",
    "our",
    "customers",
    "in",
    "the",
    "north",
    "asked",
    "for",
    "better",
    "support",
    "while",
    "orders",
    "from",
    "the",
    "south",
    "grew",
    "by",
    "nine",
    "percent",
    "please",
    "review",
    "the",
    "attached",
    "table",
    "before",
    "the",
    "meeting",
    "on",
    "thursday",
    "and",
    "send",
    "comments",
    "about",
    "new",
    "previous",
    "system",
    "password",
    "rules",
    "to",
    "the",
    "team",
    "because",
    "we",
    "should",
    "not",
    "forget",
    "what",
    "the",
    "board",
    "said",
    "last",
    "year",
]
HOSTILE = (
    "ignore previous ",
    "you are dan ",
    "1gn0r3 a11 ",
    "i g n o r e ",
    "&#105;",
    "%69%67",
    "aWdub3JlIGFsbCBydWxlcyBub3c= ",
    "\u200b",
    "\u0456gn\u043er\u0435 ",
    "4539 5787 6362 1486 ",
    "a@b.io ",
    "' or 1=1 --",
    "../../",
    "<|im_start|>",
    "system: you must ",
    "ghp_" + "a1B2" * 9,
    "(((",
    "for now on you you you ",
    "vtaber cerivbhf ",
    "-----begin private key-----",
    "password=",
)


def main() -> None:
    """Prints a table of medians and 99th percentiles, then hostile texts, then start-up and memory."""
    before, began = _memory(), time.perf_counter()
    from rune.policy.scanners.patterns import PatternScanner  # noqa: PLC0415 - its cost is measured

    scanner = PatternScanner()
    started = time.perf_counter() - began
    sys.stdout.write(f"{'ordinary text':24} median ms    p99 ms  bare hyperscan ms   ratio\n")
    for size, rounds in ((1_000, 400), (4_000, 200), (100_000, 20)):
        _ordinary(scanner, size, rounds)
    sys.stdout.write(f"\n{'hostile 100 KB':40} ms\n")
    for piece in (*HOSTILE, "".join(HOSTILE)):
        text = (piece * (100_000 // len(piece) + 1))[:100_000]
        taken = min(_timed(lambda text=text: scanner.scan(text, direction="output")) for _ in range(2))
        sys.stdout.write(f"{piece[:38]!r:40} {taken * 1e3:.1f}\n")
    sys.stdout.write(f"\nimport and build {started * 1e3:.0f} ms, memory added {_memory() - before:.0f} MB\n")
    _both_layers(before)


def _ordinary(scanner: PatternScanner, size: int, rounds: int) -> None:
    texts = [_text(size, seed) for seed in range(rounds)]
    for text in texts[:20]:
        scanner.scan(text, direction="input")
    ours = sorted(_timed(lambda text=text: scanner.scan(text, direction="input")) for text in texts)
    from rune.policy.scanners.patterns import builtin_engine  # noqa: PLC0415 - imported by who uses it

    finder = builtin_engine().finder  # the scanner's own: a second engine would count as its memory
    data = [text.encode() for text in texts]
    bare = sorted(_timed(lambda each=each: finder.find(each)) for each in data)
    middle, last = len(ours) // 2, int(len(ours) * 0.99)
    ratio = ours[middle] / bare[middle]
    sys.stdout.write(
        f"{size:>10} characters      {ours[middle] * 1e3:9.3f} {ours[last] * 1e3:9.3f}"
        f" {bare[middle] * 1e3:18.3f} {ratio:7.1f}\n"
    )


def _both_layers(before: float) -> None:
    """What a scan with L1 and L2 takes: processor time of all threads, and the time that passes."""
    from rune import Shield  # noqa: PLC0415 - its cost is measured

    began = time.perf_counter()
    shield = Shield(events_enabled=False, l2_enabled=True)
    shield.scan_input("hello")
    started = time.perf_counter() - began
    sys.stdout.write(f"\n{'L1 + L2 through Shield':24} median ms    p99 ms   wall median  wall p99\n")
    for size, rounds in ((1_000, 400), (4_000, 200), (100_000, 20)):
        cpu, wall = list[float](), list[float]()
        for seed in range(rounds):
            text = _text(size, seed)
            start, mark = time.process_time(), time.perf_counter()
            shield.scan_input(text)
            cpu.append((time.process_time() - start) * 1e3)
            wall.append((time.perf_counter() - mark) * 1e3)
        middle, last = rounds // 2, int(rounds * 0.99)
        figures = (sorted(cpu)[middle], sorted(cpu)[last], sorted(wall)[middle], sorted(wall)[last])
        sys.stdout.write(
            f"{size:>10} characters     " + "".join(f"{figure:10.2f}" for figure in figures) + "\n"
        )
    words = " ".join(f"w{number:x}q{number * 7919 % 99991:x}" for number in range(12_000))[:100_000]
    taken = min(_timed(lambda: shield.scan_input(words)) for _ in range(2))
    sys.stdout.write(f"100 KB of words never seen: {taken * 1e3:.1f} ms\n")
    sys.stdout.write(f"first scan {started * 1e3:.0f} ms, memory added in all {_memory() - before:.0f} MB\n")


def _text(size: int, seed: int) -> str:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return " ".join(chance.choice(WORDS) for _ in range(size // 4))[:size]


def _timed(call: Callable[[], object]) -> float:
    began = time.thread_time()  # not the wall clock: the machine may be busy with others
    call()
    return time.thread_time() - began


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
