"""Our own faults stay ours: they are logged and counted, and never reach the agent that we are a guest of."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import ClassVar, Self

logger = logging.getLogger("rune.shield")


class OurFault:
    """`with our_fault(…)`: what goes wrong inside is logged, and `happened` says that it did.

    One object may serve many calls and threads where nobody reads `happened`.
    """

    RAISES: ClassVar[bool] = False
    """Tests set it, so that no fault of ours hides behind the catch."""

    __slots__ = ("doing", "happened")

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.happened = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False  # a cancelled task or Ctrl-C is the host's own affair
        self.happened = True
        if self.RAISES:
            return False
        # The text of the error may quote what was scanned, so only its kind is told, and where it arose.
        logger.error("Shield failed while %s: %s at %s", self.doing, type(error).__name__, _place(error))
        return True


our_fault = OurFault


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown place"
