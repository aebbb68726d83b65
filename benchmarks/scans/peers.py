"""Rule scanners from PyPI beside Rune, in an environment of their own; run there, this file is the scanner.

    python -m venv .venv-peers && .venv-peers/bin/pip install ai-injection-guard==0.3.0 clawguard-core==0.4.0

It imports nothing of Rune: texts come in as JSON on stdin, scores and verdicts leave on stdout.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PEERS = {
    "ai-injection-guard": ("prompt_shield", "PromptScanner", "is_safe", False),
    "clawguard-core": ("clawguard_core", "Scanner", "detected", True),
}
"""The module, the class whose `scan` gives a `risk_score`, and the field and value that say "attack"."""
INSTALL = "python -m venv {0} && {0}/bin/pip install ai-injection-guard==0.3.0 clawguard-core==0.4.0"
LONGEST = 600.0
"""Seconds that all texts may take one peer."""


class Verdicts(NamedTuple):
    """What one peer says of each text: a score, and whether it calls it an attack; and its time a text."""

    name: str
    scores: list[float]
    flagged: list[bool]
    milliseconds: float


def measured(folder: Path, texts: Sequence[str]) -> list[Verdicts]:
    """The verdicts of the peers that are installed there; says which are not, and how to get them."""
    python, found = folder / "bin" / "python", list[Verdicts]()
    for name in PEERS:
        if not python.exists():
            sys.stdout.write(f"{name} is left out: no {python}; {INSTALL.format(folder)}\n")
            continue
        done = subprocess.run(
            [str(python), __file__, name],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:]
            sys.stdout.write(f"{name} is left out: {' '.join(reason)}; {INSTALL.format(folder)}\n")
            continue
        found.append(Verdicts(*json.loads(done.stdout)))
    return found


def main(name: str) -> None:
    """Scans the texts on stdin with one peer."""
    module, scanner, field, value = PEERS[name]
    peer: Any = getattr(importlib.import_module(module), scanner)()  # it ships no types
    texts: list[str] = json.load(sys.stdin)
    began = time.process_time()
    results = [peer.scan(text) for text in texts]
    spent = (time.process_time() - began) / len(texts) * 1e3
    title = f"{name} {importlib.metadata.version(name)}"
    scores = [float(result.risk_score) for result in results]
    json.dump([title, scores, [getattr(result, field) == value for result in results], spent], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
