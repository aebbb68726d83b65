"""What `rune run` needs of an integration: to guard all of a library, in place, as soon as it is loaded.

Nothing is patched before all that is needed was found: a version that looks otherwise is refused whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from rune.errors import FailedPrecondition
from rune.integrations.checkpoint import Checkpoint, OnBlock
from rune.shield.shield import Shield

F = TypeVar("F", bound=Callable[..., Any])
PATCHED = "__rune_patched__"


class Everywhere(NamedTuple):
    """How all of a program is guarded."""

    shield: Callable[[], Shield]
    """The Shield of the process, made when it is first needed."""
    on_block: OnBlock = "raise"
    paths: tuple[str, ...] = ()
    """Of the HTTP requests that come in, which are judged."""

    def check(self, framework: str) -> Callable[[], Checkpoint]:
        """The one checkpoint of a framework, made when it is first needed: its models and tools share it."""
        return lambda: _checkpoint(self.shield(), framework)


@functools.cache
def _checkpoint(shield: Shield, framework: str) -> Checkpoint:
    return Checkpoint(shield, framework)


def require(owner: object, *names: str) -> None:
    """Raises FailedPrecondition where a library is not as this version of Rune knows it."""
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        where = getattr(owner, "__qualname__", None) or getattr(owner, "__name__", owner)
        raise FailedPrecondition(f"{where} has no {' and no '.join(missing)}: this version is unknown")


def patch(kind: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Put a function around a method that a class itself has, once."""
    theirs: Any = kind.__dict__.get(name)
    if theirs is None or getattr(theirs, PATCHED, False):
        return
    ours: Any = functools.wraps(theirs)(wrap(theirs))
    setattr(ours, PATCHED, True)
    setattr(kind, name, ours)


def every_subclass(base: Any, act: Callable[[Any], None]) -> None:
    """Does something with each subclass, those that are there and those that will be defined."""
    theirs: Any = base.__dict__.get("__init_subclass__")
    inherited: Any = super

    def init_subclass(cls: Any, **more: Any) -> None:
        if theirs is not None:
            theirs.__get__(None, cls)(**more)
        else:
            inherited(base, cls).__init_subclass__(**more)
        _act(cls, act)

    base.__init_subclass__ = classmethod(init_subclass)
    waiting = list(base.__subclasses__())
    while waiting:
        kind = waiting.pop()
        _act(kind, act)
        waiting += kind.__subclasses__()


def _act(kind: Any, act: Callable[[Any], None]) -> None:
    if not kind.__module__.startswith("rune."):  # our own layers judge by themselves
        act(kind)
