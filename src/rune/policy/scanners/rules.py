"""Rules as data: reads rule files in YAML and says line and column of whatever is wrong in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import yaml

from rune.errors import InvalidArgument, Violation
from rune.policy.scanners.finding import Severity
from rune.policy.scanners.places import Places

TYPES = frozenset(
    (
        "prompt_injection", "jailbreak", "data_exfiltration", "system_prompt_leak", "command_injection",
        "sql_injection", "path_traversal", "ssrf", "tool_manipulation", "secret_exposure", "pii_exposure",
        "invisible_text",
    )
)  # fmt: skip
CHANNELS = ("chat", "content", "output", "arguments")
SENSITIVE = frozenset({"secret_exposure", "pii_exposure"})
MAX_RULES = 2_000
MAX_PATTERN = 6_000
MAX_FILE_BYTES = 2_000_000
SPACE = r"(?:[\s,;:*_\"'\x60>#|~-]{1,5})"
"""What a space in a pattern means: up to five characters that part words, markup included."""


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A pattern that must, or must not, occur within so many characters of a match."""

    pattern: str
    within: int = 200
    otherwise: float = 0.0
    """For `requires`: the confidence left when the context is missing; 0 drops the match."""


class Examples(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Texts by which a rule is tested; every rule of ours has both kinds."""

    match: list[str] = []
    ignore: list[str] = []


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing to look for. `pattern` is RE2 over lower-cased text; a space in it is any word gap."""

    id: str
    type: str
    severity: Severity
    confidence: float
    pattern: str
    says: str
    keywords: list[str | list[str]] = []
    """Words of which one must stand nearby; where some are lists, one of each list."""
    languages: list[str] = []
    channels: dict[str, float] = {}
    """Factors on the confidence per channel; one not named keeps 1, and 0 switches the rule off."""
    requires: Context | None = None
    unless: Context | None = None
    discounts: bool = True
    reach: int = 640
    """Bytes around a keyword that a match, and the other groups of keywords, must stand in."""
    case_sensitive: bool = False
    views: list[str] = []
    """Readings of the text the rule is tried on; empty means all but `joined`."""
    validator: str | None = None
    category: str | None = None
    examples: Examples = Examples()

    @property
    def groups(self) -> list[list[str]]:
        """Keywords as groups of which each must have a hit; empty when the rule has no keywords."""
        if all(isinstance(word, str) for word in self.keywords):
            return [cast("list[str]", self.keywords)] if self.keywords else []
        return [[word] if isinstance(word, str) else word for word in self.keywords]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule file: a vocabulary that patterns refer to as `%{name}`, and rules."""

    vocabulary: dict[str, str] = {}
    rules: list[Rule] = []


def builtin_rules() -> tuple[Rule, ...]:
    """The rules that ship with Rune, read once per process."""
    return _builtin()[0]


def load_rules(path: str | Path) -> tuple[Rule, ...]:
    """The rules of a file, or of the YAML files of a folder; raises InvalidArgument with every place."""
    root = Path(path)
    names = sorted(p for p in root.iterdir() if p.suffix in {".yaml", ".yml"}) if root.is_dir() else [root]
    rules: list[Rule] = []
    taken = {rule.id for rule in builtin_rules()}
    for name in names:
        if name.stat().st_size > MAX_FILE_BYTES:
            raise InvalidArgument(
                f"{name}: larger than {MAX_FILE_BYTES} bytes; split the rules over several files"
            )
        rules += _read(name.read_text("utf-8"), str(name), taken)
    if len(rules) > MAX_RULES:
        raise InvalidArgument(f"{path}: {len(rules)} rules, at most {MAX_RULES} are allowed")
    return tuple(rules)


@cache
def _builtin() -> tuple[tuple[Rule, ...], dict[str, str]]:
    """The rules and the vocabulary that ship with Rune; the files themselves are not kept."""
    # Not by `importlib.resources`, which loads a dozen modules into every agent.
    folder = Path(__file__).parent.parent / "rules"
    texts = [entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    files = [msgspec.convert(yaml.load(text, Loader=yaml.CSafeLoader), File) for text in texts]
    vocabulary = _flat({name: words for file in files for name, words in file.vocabulary.items()})
    return tuple(_expanded(rule, vocabulary) for file in files for rule in file.rules), vocabulary


def _read(text: str, name: str, taken: set[str]) -> list[Rule]:
    """Parses one file of a user's; `taken` grows by the ids it defines."""
    where = Places(text, name)
    try:
        file = msgspec.convert(where.plain, File)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        raise InvalidArgument.of([where.violation(at.rstrip("`"), message)]) from error
    violations: list[Violation] = []
    vocabulary = _flat({**_builtin()[1], **file.vocabulary})
    rules: list[Rule] = []
    for index, rule in enumerate(file.rules):
        at = f".rules[{index}]"
        violations += [where.violation(at + field, why) for field, why in problems(rule, vocabulary, taken)]
        taken.add(rule.id)
        rules.append(rule)
    if violations:
        raise InvalidArgument.of(violations)
    return [_expanded(rule, vocabulary) for rule in rules]


def problems(rule: Rule, vocabulary: Mapping[str, str], taken: Iterable[str] = ()) -> list[tuple[str, str]]:
    """What is wrong with a rule as (field, reason), empty for a good one."""
    checks = [
        (".id", rule.id in taken, f"the id {rule.id!r} is used already; choose another"),
        (
            ".id",
            re.fullmatch(r"[a-z0-9][a-z0-9-]{2,63}", rule.id) is None,
            "use lower-case letters, digits and dashes",
        ),
        (".type", rule.type not in TYPES, f"unknown type {rule.type!r}; one of {', '.join(sorted(TYPES))}"),
        (".confidence", not 0 < rule.confidence <= 1, "must be above 0 and at most 1"),
        (
            ".keywords",
            any(not w or (len(w.encode()) == 1 and w.isalnum()) for g in rule.groups for w in g),
            "a keyword needs two characters",
        ),
        (".channels", bool(set(rule.channels) - set(CHANNELS)), f"channels are {', '.join(CHANNELS)}"),
        (
            ".validator",
            rule.validator not in {None, *validators()},
            f"validators are {', '.join(sorted(validators()))}",
        ),
    ]
    found = [(field, why) for field, wrong, why in checks if wrong]
    for field, pattern in _patterns(rule):
        reason = _pattern_problem(pattern, vocabulary)
        if reason:
            found.append((field, reason))
    return found


def validators() -> frozenset[str]:
    """The names a rule's `validator` may have."""
    from rune.policy.scanners import pii, secrets  # noqa: PLC0415 - they are needed by name only here

    return frozenset(secrets.VALIDATORS) | frozenset(pii.VALIDATORS)


def _patterns(rule: Rule) -> Iterable[tuple[str, str]]:
    yield ".pattern", rule.pattern
    for name, context in (("requires", rule.requires), ("unless", rule.unless)):
        if context is not None:
            yield f".{name}.pattern", context.pattern


def _pattern_problem(pattern: str, vocabulary: Mapping[str, str]) -> str | None:
    import re2  # noqa: PLC0415 - loaded with the first scanner, not with the package

    if len(pattern) > MAX_PATTERN:
        return f"longer than {MAX_PATTERN} characters"
    engine: Any = re2  # it ships no types
    options = engine.Options()
    options.log_errors = False
    try:
        compiled = engine.compile(expand(pattern, vocabulary).encode(), options)
    except KeyError as error:
        return f"the vocabulary has no word {error.args[0]!r}"
    except engine.error as error:
        reason = error.args[0]
        return reason.decode() if isinstance(reason, bytes) else str(reason)
    if compiled.search(b"") is not None:
        return "matches the empty text, and so everywhere"
    return None


def _expanded(rule: Rule, vocabulary: Mapping[str, str]) -> Rule:
    changes: dict[str, Any] = {"pattern": expand(rule.pattern, vocabulary)}
    for name, context in (("requires", rule.requires), ("unless", rule.unless)):
        if context is not None:
            changes[name] = msgspec.structs.replace(context, pattern=expand(context.pattern, vocabulary))
    return msgspec.structs.replace(rule, **changes)


def expand(pattern: str, vocabulary: Mapping[str, str]) -> str:
    """The RE2 pattern behind a rule's: words looked up, spaces outside classes made word gaps."""
    return _TOKEN.sub(_spaced, _WORD.sub(lambda m: f"(?:{vocabulary[m[1]]})", pattern))


_WORD = re.compile(r"%\{(\w+)\}")
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]| |\n\s*", re.DOTALL)


def _spaced(token: re.Match[str]) -> str:
    text = token[0]
    if text == " ":
        return SPACE
    return "" if text.isspace() else text


def _flat(vocabulary: Mapping[str, str]) -> dict[str, str]:
    """Words that name other words, resolved; a word may only use words defined before it."""
    flat: dict[str, str] = {}
    for name, words in vocabulary.items():
        flat[name] = _WORD.sub(lambda m: f"(?:{flat[m[1]]})", words)
    return flat
