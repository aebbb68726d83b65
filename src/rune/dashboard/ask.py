"""What a page is made of: the question of a browser, and the screen or the outcome that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from markupsafe import Markup

from rune.api import Operation
from rune.api.fields import Message
from rune.client.client import Client
from rune.errors import InvalidArgument, Violation

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question, with a client that has the rights of whoever is logged in, and no others."""

    client: Client
    name: str
    """Who is logged in."""
    rights: str
    """Stands for all that it may do; equal for those who may do exactly the same."""
    operations: frozenset[str]
    """The names of the operations that it may call somewhere."""
    path: str
    values: Mapping[str, str]
    """What stands where the page's path has braces."""
    query: Mapping[str, str]
    form: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    now: datetime

    async def call(self, operation: Operation[In, Out], request: In) -> Out:
        """One call."""
        return await self.client.call(operation, request)

    def may(self, *operations: Operation[Any, Any]) -> bool:
        """It may call all of them, in some namespace at least."""
        return all(operation.name in self.operations for operation in operations)

    def given(self, name: str, default: str = "") -> str:
        """A field of the form, without blanks around it."""
        return next(iter(self.form.get(name, ())), default).strip()

    def text(self, name: str) -> str:
        """A field of the form, as it was typed; browsers send line breaks as CR LF."""
        return next(iter(self.form.get(name, ())), "").replace("\r\n", "\n")

    def number(self, name: str, default: int = 0) -> int:
        """A whole number of the form; raises InvalidArgument for anything else."""
        text = self.given(name)
        try:
            return int(text) if text else default
        except ValueError as error:
            raise InvalidArgument.of([Violation(name, "must be a whole number")]) from error

    def every(self, name: str) -> Sequence[str]:
        """All values of a field of the form."""
        return self.form.get(name, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of a long table, and where the next ones begin; an empty cursor is the end."""

    rows: Sequence[Markup]
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a page shows."""

    title: str
    body: Sequence[Markup | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How an action went: words for the reader, and where to go if not to stay."""

    said: str = ""
    to: str = ""
    shown: Markup | None = None
    """What is shown this once, in a box of its own."""


Show = Callable[[Ask], Awaitable[Screen]]
Rows = Callable[[Ask], Awaitable[Part]]
Act = Callable[[Ask], Awaitable[Done]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: where it is, what shows it, and the kinds of resources whose changes it shows."""

    path: str
    show: Show
    watches: frozenset[str] = frozenset()
    rows: Rows | None = None
    """Gives further rows of its table."""
    is_shared: bool = False
    """It shows the same to all who may do the same: nothing of who they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that a form does."""

    path: str
    act: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry of the menu; whoever may not call the operation does not see it."""

    path: str
    label: str
    needs: Operation[Any, Any] | None = None
