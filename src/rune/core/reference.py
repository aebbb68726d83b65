"""The Runefile's reference page, from the docstrings of its settings: `python -m rune.core.reference`."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from rune.core import runefile
from rune.core.durations import written
from rune.core.runefile import SUPPORTED_LATER, Address
from rune.core.settings import SETTINGS, Setting

PLACE: Final = Path("docs/reference/runefile.md")
HEAD: Final = """\
# The Runefile

<!-- Written by `python -m rune.core.reference` from src/rune/core/runefile.py: change it there. -->

`runed` reads `/etc/rune/runefile.yaml`, or the file that `--config` names. Every setting has a default that
works, so the file may be empty or absent. Each setting can be given in four places; the first one wins:

1. a flag of `runed` (settings of `server` only: `--grpc-addr`, `--data-dir` …),
2. an environment variable,
3. the Runefile,
4. the default.

Names may be written with `-` or `_`. A setting that does not exist is an error, as is a value that does not
fit; `runed` names all of them with line and column, and does not start.

```yaml
server:
  grpc-addr: ":7863"
  http-addr: ":7861"
  log-level: info
```
"""


def render() -> str:
    """The whole page."""
    words = dict(_docstrings())
    parts = [HEAD]
    section = ""
    for path, setting in SETTINGS.items():
        if path.rpartition(".")[0] != section:
            section = path.rpartition(".")[0]
            head = f"{section}\n\n{words[section]}" if section else path
            parts.append(f"\n## {head}\n")
        parts.append(_entry(setting, words[path]))
    parts.append("\n## Not in this release\n\nThese are refused with the reason.\n\n")
    parts += [f"- `{path}`: {reason}\n" for path, reason in SUPPORTED_LATER.items()]
    return "".join(parts)


def _entry(setting: Setting, words: str) -> str:
    return (
        f"\n### `{setting.path}`\n\n{words}\n\n"
        f"{_takes(setting)}. Default: `{_shown(setting.default)}`. Environment: `{setting.variable}`.\n"
    )


def _takes(setting: Setting) -> str:
    if get_origin(setting.hint) is Literal:
        return "One of " + ", ".join(f"`{word}`" for word in get_args(setting.hint))
    if setting.hint is bool:
        return "`true` or `false`"
    match setting.default:
        case Address():
            return "An address `host:port`"
        case Path():
            return "The path of a folder"
        case tuple():
            return "A list of sections"
        case timedelta():
            return "A span of time such as `90s`, `15m`, `12h` or `30d`"
        case int():
            limits = setting.hint.__metadata__[0]
            return f"A whole number from {limits.ge} to {limits.le}"
        case _:
            return "Text"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return written(value)
    if value == ():
        return "[]"
    return str(value) if value != "" else '""'


def _docstrings() -> Iterator[tuple[str, str]]:
    """The words below each field, by dotted name, and those of each section."""
    module = ast.parse(inspect.getsource(runefile))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    yield from _below(classes, "Settings", "")


def _below(classes: dict[str, ast.ClassDef], name: str, prefix: str) -> Iterator[tuple[str, str]]:
    body = classes[name].body
    for field, words in pairwise(body):
        if not isinstance(field, ast.AnnAssign) or not isinstance(words, ast.Expr):
            continue
        path = prefix + ast.unparse(field.target).replace("_", "-")
        kind = ast.unparse(field.annotation)
        if kind in classes and kind != "Address":
            yield path, inspect.cleandoc(ast.get_docstring(classes[kind]) or "")
            yield from _below(classes, kind, f"{path}.")
        else:
            yield path, inspect.cleandoc(ast.literal_eval(words.value))


def main(argv: Sequence[str]) -> int:
    """Write the page, or with `--check` say whether it is as it should be."""
    if "--check" in argv:
        return 0 if PLACE.exists() and PLACE.read_text(encoding="utf-8") == render() else 1
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    PLACE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
