"""The console script `rune`: it begins and ends quickly, `app.py` is what happens between."""

from __future__ import annotations

import gc
import os
import sys

BROKEN_PIPE = 141


def main() -> None:
    """Run a command and end the process at once: to take every module down first would take 10 ms."""
    gc.disable()  # until something is awaited: what is imported stays, and looking through it takes 5 ms
    from rune.cli.app import run  # noqa: PLC0415 - after the line above

    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or BROKEN_PIPE
    os._exit(code)


if __name__ == "__main__":
    main()
