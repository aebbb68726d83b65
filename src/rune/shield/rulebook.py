"""The policies and false positives in force. A rulebook never changes: a newer one takes its place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rune.errors import InvalidArgument, NotFound
from rune.policy.evaluate import ActivePolicy, Evaluator
from rune.shield.suppress import FalsePositives

MAX_FILES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """What calls are judged by."""

    evaluator: Evaluator = field(default_factory=lambda: Evaluator([]))
    false_positives: FalsePositives = field(default_factory=FalsePositives)
    salt: bytes = b""
    """Keys the hashes of contents and arguments; one for the organization, or made of the API key."""
    version: str = ""
    synced_at: datetime | None = None
    is_known: bool = True
    """False while the control plane has not told its policies and there are no local ones."""


def first_rulebook(path: str | None, api_key: str | None, *, syncs: bool) -> Rulebook:
    """What is in force before the first word from the control plane; raises for a bad policy file."""
    policies = local_policies(path) if path else []
    return Rulebook(
        evaluator=Evaluator(policies),
        salt=hashlib.sha256(b"rune fingerprint " + (api_key or "").encode()).digest(),
        version="local" if path else "",
        is_known=bool(path) or not syncs,
    )


def local_policies(path: str) -> list[ActivePolicy]:
    """The policies of a YAML file, or of those of a folder; every error names its file."""
    root = Path(path)
    if not root.exists():
        raise NotFound(f"local_policies_path: there is no {path!r}")
    files = sorted(p for p in root.iterdir() if p.suffix in {".yaml", ".yml"}) if root.is_dir() else [root]
    if len(files) > MAX_FILES:
        raise InvalidArgument(f"local_policies_path: {len(files)} files are too many; at most {MAX_FILES}")
    return [_policy(file) for file in files]


def _policy(file: Path) -> ActivePolicy:
    from rune.policy.compile import compile as compile_policy  # noqa: PLC0415 - loads YAML
    from rune.policy.document import parse  # noqa: PLC0415 - loads YAML

    try:
        return ActivePolicy(policy=compile_policy(parse(file.read_bytes())), policy_id=f"local:{file.stem}")
    except InvalidArgument as error:
        raise InvalidArgument(f"{file}: {error.message}", details=error.details) from None
