"""An agent under guard, scripted and offline: it reads mail from stdin or a folder, and its model is a rule.

Run by Rune as a service it needs no setting at all: its key, the address of the server and its own name are
in its environment. By itself, `python examples/guarded_agent.py < mails.txt` works alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rune import Shield, ShieldBlockedError

PERIOD = 0.05
"""Seconds between two looks into the folder."""


def main() -> int:
    """Answer every mail, until there are no more."""
    shield = Shield(events_enabled="RUNE_ENDPOINT" in os.environ)
    say(f"on duty as {os.environ.get('RUNE_AGENT_ID', 'nobody in particular')}")
    pay = shield.protect(tool="pay")(pay_invoice)
    with shield, shield.session():
        for number, mail in enumerate(mails(), start=1):
            try:
                shield.enforce(shield.scan_input(mail, {"source": "email"}))
                say(f"mail {number}: {answer(mail, pay)}")
            except ShieldBlockedError as error:
                say(f"mail {number}: blocked: {error.message}")
    return 0


def answer(mail: str, pay: Callable[[int], str]) -> str:
    """What a language model would decide; here, a word does."""
    if "invoice" in mail:
        return pay(12)
    return f"thanks for your {len(mail.split())} words"


def pay_invoice(amount: int) -> str:
    """The one tool that this agent has."""
    return f"paid {amount}"


def mails() -> Iterator[str]:
    """The files of the folder MAILBOX as they come, each once; without it, the lines of stdin."""
    folder = os.environ.get("MAILBOX")
    if folder is None:
        yield from filter(str.strip, sys.stdin)
        return
    while True:
        for file in sorted(Path(folder).glob("*.txt")):
            text = file.read_text(encoding="utf-8")
            file.rename(file.with_suffix(".read"))
            yield text
        time.sleep(PERIOD)


def say(text: str) -> None:
    """One line of the log."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
