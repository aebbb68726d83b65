"""The console script `rune`: it begins and ends quickly, `app.py` is what happens between."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable

BROKEN_PIPE = 141


def main() -> None:
    """Run a command and end the process at once: to take every module down first would take 10 ms."""
    gc.disable()  # until something is awaited: what is imported stays, and looking through it takes 5 ms
    _open_streams()
    code = _run()(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or BROKEN_PIPE
    os._exit(code)


def _open_streams() -> None:
    """Have a stdout and a stderr even where they are closed, and let no letter that they lack end us."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
        elif stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _run() -> Callable[[list[str]], int]:
    """What runs commands; Ctrl-C while it is imported ends the process without a word."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rune.cli.app import run  # noqa: PLC0415 - after the lines above

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run


if __name__ == "__main__":
    main()
