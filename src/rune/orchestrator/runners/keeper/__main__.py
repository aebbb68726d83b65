"""Lets `python -I -S …/keeper/__main__.py` find its package without importing the rest of Rune."""

from __future__ import annotations

import importlib
import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(here))
    importlib.import_module("keeper.service").main(sys.argv[1:])
