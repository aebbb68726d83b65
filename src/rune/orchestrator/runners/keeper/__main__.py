"""Lets `python -I -S …/keeper/__main__.py` find its package without importing the rest of Rune."""
# ruff: noqa: PTH, SIM105, FBT003 - pathlib and contextlib stay out of this long-lived process

from __future__ import annotations

import importlib
import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(here))
    importlib.import_module("keeper.service").main(sys.argv[1:])
