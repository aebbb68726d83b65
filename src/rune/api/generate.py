"""`python -m rune.api.generate` writes what is derived from the table; with `--check` it only compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from rune.api import OPERATIONS, proto
from rune.api.codec import DESCRIPTORS

ROOT = Path(__file__).resolve().parents[3]
LOCK = Path("api/fields.lock.json")
PACKAGES = ("rune.api",)


def main() -> int:
    """Write every derived file, or with `--check` name the stale ones; exit code 1 when there are any."""
    derived = files(json.loads((ROOT / LOCK).read_text(encoding="utf-8")))
    stale = [path for path, content in derived.items() if _read(ROOT / path) != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path} is stale: run `python -m rune.api.generate` and commit what it writes")  # noqa: T201 - a command
        return bool(stale)
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(derived[path])
        print(f"wrote {path}")  # noqa: T201 - a command
    return 0


def files(locked: Mapping[str, Any]) -> dict[Path, bytes]:
    """Every derived file and what it should hold."""
    locks = {package: settled(package, locked[package]) for package in PACKAGES}
    descriptors = descriptor_pb2.FileDescriptorSet()
    for package, lock in locks.items():
        rows = [row for row in OPERATIONS if row.package == package]
        descriptors.file.append(proto.describe(package, rows, lock))
    return {
        LOCK: (json.dumps(locks, indent=1) + "\n").encode(),
        Path("src/rune/api") / DESCRIPTORS: descriptors.SerializeToString(deterministic=True),
    }


def settled(package: str, locked: Mapping[str, Any]) -> dict[str, Any]:
    """The package's lock with what was declared since; ends the program when the wire would break."""
    published = locked["published"]
    before = {part: locked[part] for part in ("messages", "enums", "services")}
    declared = proto.declare(row for row in OPERATIONS if row.package == package)
    broken = proto.conflicts(declared, before)
    if broken:
        raise SystemExit("the wire would break:\n  " + "\n  ".join(broken))
    return {"published": published, **proto.settle(declared, before, published)}


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


if __name__ == "__main__":
    sys.exit(main())
