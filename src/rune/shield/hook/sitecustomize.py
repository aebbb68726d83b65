# ruff: noqa: INP001 - a folder for PYTHONPATH is no package
"""Python loads this before a program that `rune run` starts; it puts model clients under a Shield.

The program's own `sitecustomize`, if it has one, is loaded as well. No package: a folder for PYTHONPATH.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

HERE = str(Path(__file__).parent)


def start() -> None:
    """Guards this process. The one that `rune run` started ends where that cannot be; its children go on."""
    try:
        from rune.shield import autoload  # noqa: PLC0415 - another interpreter may not have it
    except ImportError as error:
        why = f"rune run: {sys.executable} cannot load Rune ({error}): install runesec there"
        if os.environ.get("RUNE_RUN") == str(os.getpid()):
            raise SystemExit(why) from None
        print(f"{why}; this process is not guarded", file=sys.stderr)  # noqa: T201 - there is no logger yet
        return
    autoload.install()


def theirs() -> None:
    """The `sitecustomize` that this one stands in front of."""
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != HERE])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


start()
theirs()
