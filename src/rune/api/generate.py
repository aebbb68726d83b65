"""`python -m rune.api.generate` writes what is derived from the table; with `--check` it only compares.

What follows from roles as well is written by `python -m rune.core.permissions`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rune.api import OPERATIONS, openapi, proto, prototext, reference
from rune.api.descriptors import path_of

ROOT = Path(__file__).resolve().parents[3]
LOCK = Path("api/fields.lock.json")
PROTO = {"rune.api": Path("api/rune.proto"), "rune.security.v1": Path("api/security.proto")}
PACKAGED = Path("src/rune/api")


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
    locks = {package: settled(package, locked[package]) for package in PROTO}
    texts: dict[Path, bytes] = {}
    for package, lock in locks.items():
        rows = [row for row in OPERATIONS if row.package == package]
        described = proto.describe(package, rows, lock)
        texts[Path(path_of(package)).relative_to(ROOT)] = described.SerializeToString(deterministic=True)
        texts[PROTO[package]] = prototext.text(described, rows).encode()
    document = json.loads(json.dumps(openapi.document(OPERATIONS)))  # apart, so that YAML needs no anchors
    return {
        LOCK: (json.dumps(locks, indent=1) + "\n").encode(),
        **texts,
        PACKAGED / "openapi.json": json.dumps(document, separators=(",", ":")).encode() + b"\n",
        Path("api/openapi.yaml"): yaml.safe_dump(
            document, sort_keys=False, width=110, allow_unicode=True
        ).encode(),
        Path("docs/reference/api.md"): reference.text(OPERATIONS).encode(),
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
