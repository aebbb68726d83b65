"""The tree keeps its own rules: sizes, prose, and a reason for every exception."""

from __future__ import annotations

import ast
import re
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # whichever test is the first reads the whole tree
ROOT = Path(__file__).parents[2]

MAX_FILE = 400
MAX_FUNCTION = 50
MAX_NESTING = 3

LONGER_FILES: dict[str, int] = {}
"""Files over the limit and their lines. A number here may only go down, and an entry may only go."""

BUILT = {"site", "build", "dist", "artifacts"}


def files() -> list[Path]:
    """What git tracks or would track; without git or its folder, everything but what is built."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        tops = [path for path in ROOT.iterdir() if path.name not in BUILT and not path.name.startswith(".")]
        found = [path for top in tops for path in (top, *top.rglob("*")) if "__pycache__" not in path.parts]
    else:
        found = [ROOT / line for line in listed.splitlines()]
    return [path for path in found if path.is_file()]


FILES = files()
PYTHON = [path for path in FILES if path.suffix == ".py"]

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)  # a `with` adds no path
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NEEDS_REASON = re.compile(
    r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore|pragma:\s*no\s*(?:cover|branch))(?P<rest>.*)"
)
RULES = re.compile(r"(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*|\[[\w, -]+\])")
REASON = re.compile(r"\s*[-–—(#:]\s*\w.{2,}")


def name(path: Path) -> str:
    """As people say it: from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Every comment with its line, where a check may be silenced; strings like comments are not meant."""
    if not NEEDS_REASON.search(path.read_text(encoding="utf-8")):
        return  # to read tokens takes long
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """The statements of a statement; neither a block nor a function stands in an expression."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        yield from getattr(node, part, ())


def depth(node: ast.AST) -> int:
    """How many blocks stand inside each other; an `elif` is as deep as its `if`, a function starts anew."""
    deepest = 0
    for child in inside(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not chained))
    return deepest


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function in it, also those of classes and of other functions."""
    for child in inside(node):
        if isinstance(child, FUNCTIONS):
            yield child
        yield from functions(child)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What the tests want to know of the tree; each place by its address."""

    spans: dict[str, int]
    """How many lines a function has."""
    depths: dict[str, int]
    silent: list[str]
    """Skips that do not say why."""
    bare: list[str]
    """Modules that do not open with a sentence."""


@cache
def read() -> Read:
    """The tree, parsed once for all tests; a parsed module is large and is dropped at once."""
    found = Read(spans={}, depths={}, silent=[], bare=[])
    for path in PYTHON:
        text = path.read_text(encoding="utf-8")
        module = ast.parse(text, filename=str(path))
        for node in functions(module):
            place = f"{name(path)}:{node.lineno} {node.name}"
            found.spans[place] = (node.end_lineno or node.lineno) - node.lineno + 1
            found.depths[place] = depth(node)
        if "skip" in text or "xfail" in text:
            found.silent.extend(f"{name(path)}: {silent}" for silent in silent_skips(module))
        if not ast.get_docstring(module):
            found.bare.append(name(path))
    return found


def test_no_file_is_longer_than_the_limit() -> None:
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in PYTHON}
    over = {path: count for path, count in lines.items() if count > MAX_FILE}
    assert over == LONGER_FILES, f"split what is new over {MAX_FILE} lines; lower or drop what has shrunk"


def test_no_function_is_longer_than_the_limit() -> None:
    assert not {place: span for place, span in read().spans.items() if span > MAX_FUNCTION}


def test_no_function_nests_deeper_than_the_limit() -> None:
    assert not {place: deep for place, deep in read().depths.items() if deep > MAX_NESTING}


@pytest.mark.parametrize(
    "source, deep",
    [
        ("if a:\n  for b in c:\n    d", 2),
        ("if a: b\nelif c: d\nelif e: f", 1),
        ("if a: b\nelse:\n  if c: d\n  e", 2),
        ("try: a\nexcept B:\n  while c:\n    match d:\n      case 1:\n        if e: f", 4),
        ("try: a\nfinally:\n  if b: c", 2),
        ("with a:\n  async def b():\n    if c: d", 0),
    ],
)
def test_blocks_are_counted(source: str, deep: int) -> None:
    assert depth(ast.parse(source)) == deep


def test_functions_are_found_wherever_they_stand() -> None:
    source = "try: a\nexcept B:\n  class C:\n    async def d(): ...\nelse:\n  with e:\n    def f(): ..."
    assert [node.name for node in functions(ast.parse(source))] == ["f", "d"]


def test_every_module_opens_with_a_sentence() -> None:
    assert not read().bare


def test_every_silenced_check_names_its_rule_and_a_reason() -> None:
    bare = [
        f"{name(path)}:{line} {comment}"
        for path in PYTHON
        for line, comment in comments(path)
        if (found := NEEDS_REASON.search(comment)) and not is_explained(comment, found["rest"])
    ]
    assert not bare, "write it like this: # noqa: S105 - an invented secret"


def is_explained(comment: str, rest: str) -> bool:
    """A rule in brackets or after a colon (coverage has none), then a dash or the like, then words."""
    rules = RULES.match(rest)
    reason = rest[rules.end() :] if rules else rest
    return bool(REASON.match(reason)) and (rules is not None or "pragma" in comment)


@pytest.mark.parametrize(
    "source, silent",
    [
        ("pytest.skip('no docker here')", 0),
        ("pytest.skip()", 1),
        ("@pytest.mark.skip\ndef test_x(): ...", 1),
        ("@pytest.mark.xfail(strict=True)\ndef test_x(): ...", 1),
        ("@pytest.mark.xfail(reason='known')\ndef test_x(): ...", 0),
    ],
)
def test_a_silent_skip_is_found(source: str, silent: int) -> None:
    assert len(list(silent_skips(ast.parse(source)))) == silent


@pytest.mark.parametrize(
    "comment, good",
    [
        ("# noqa: S105 - an invented secret", True),
        ("# noqa: S105, S106 (invented secrets)", True),
        ("# pyright: ignore[reportUnknownMemberType] - the library has no types", True),
        ("# pragma: no cover - only on a machine without cgroups", True),
        ("# noqa", False),
        ("# noqa: S105", False),
        ("# noqa: S105, S106", False),
        ("# type: ignore", False),
        ("# pyright: ignore[reportUnknownMemberType]", False),
        ("# noqa - because I say so", False),
    ],
)
def test_a_reason_is_told_from_none(comment: str, good: bool) -> None:
    found = NEEDS_REASON.search(comment)
    assert found
    assert is_explained(comment, found["rest"]) is good


def test_every_skip_and_expected_failure_says_why() -> None:
    assert not read().silent


def silent_skips(module: ast.Module) -> Iterator[str]:
    """Calls without a reason, and decorators without parentheses, which have no room for one."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and is_skip(node.func) and not has_reason(node):
            yield ast.unparse(node)
        if isinstance(node, FUNCTIONS):
            yield from (ast.unparse(mark) for mark in node.decorator_list if is_skip(mark))


def is_skip(node: ast.AST) -> bool:
    """Whether this is pytest.skip, pytest.xfail, pytest.mark.skip, .skipif or .xfail."""
    return isinstance(node, ast.Attribute) and (
        node.attr in {"skip", "skipif", "xfail"} and ast.unparse(node.value) in {"pytest", "pytest.mark"}
    )


def has_reason(call: ast.Call) -> bool:
    """A keyword `reason`, or a first argument where that is the reason."""
    takes_it_first = ast.unparse(call.func) in {"pytest.skip", "pytest.xfail", "pytest.mark.skip"}
    return any(keyword.arg == "reason" for keyword in call.keywords) or (takes_it_first and bool(call.args))


def test_no_path_of_a_developers_machine_is_in_the_tree() -> None:
    private = {
        str(ROOT).encode(),
        *([str(Path.home()).encode() + b"/"] if "/home/" in str(Path.home()) else []),
    }
    assert not [name(path) for path in FILES if any(trace in path.read_bytes() for trace in private)]


def test_the_lock_names_no_host() -> None:
    assert not re.search(
        r"https?://|--index|--find-links", (ROOT / "requirements/dev.lock").read_text(encoding="utf-8")
    )
