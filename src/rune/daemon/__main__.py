"""`runed`, also as `python -m rune.daemon`."""

from __future__ import annotations

import gc


def main() -> None:
    """The command `runed`. Looking for garbage would take an eighth of the time in which modules load."""
    gc.disable()
    from rune.daemon.main import main as run  # noqa: PLC0415 - after the line above

    run()


if __name__ == "__main__":
    main()
