"""Enrollments: one-time codes; and all that belongs to a subject beside its tokens, and goes with it."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from rune.api.fields import Timestamp
from rune.api.resource import Key, Resource
from rune.core.passwords import Password
from rune.core.sessions import Session
from rune.core.store.base import Delete, Store, Write
from rune.core.tokens import SYSTEM, digest


class Enrollment(Resource):
    """A code that is good for one session of a subject. Its hash never shows when it is printed."""

    KIND: ClassVar[str] = "enrollment"

    id: str
    subject: str
    subject_id: str
    expires_at: Timestamp = None
    hash: str

    @property
    def key(self) -> Key:
        """They live in the `system` namespace, by id."""
        return Key(self.KIND, SYSTEM, self.id)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What may be printed."""
        return [("id", self.id), ("subject", self.subject), ("expires_at", self.expires_at)]

    def __repr__(self) -> str:
        return f"Enrollment({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Federated(Resource):
    """Who a person of an OpenID provider is here. The provider's own name for the person decides, which never
    changes; so nobody becomes somebody else by taking their user name there.
    """

    KIND: ClassVar[str] = "federated"

    id: str
    issuer: str
    subject: str
    subject_id: str = ""

    @property
    def key(self) -> Key:
        """They live in the `system` namespace, by issuer and person."""
        return Key(self.KIND, SYSTEM, self.id)


def linked(issuer: str, person: str) -> str:
    """The id of a person of a provider."""
    return digest(f"{len(issuer)} {issuer} {person}")


KINDS: Final[tuple[type[Resource], ...]] = (Session, Password, Enrollment, Federated)
"""What belongs to a subject."""


def gone_with(store: Store, name: str) -> list[Write]:
    """The writes that take away what belongs to the subject of that name."""
    every = (
        *store.list(Session, SYSTEM), *store.list(Password, SYSTEM), *store.list(Enrollment, SYSTEM),
        *store.list(Federated, SYSTEM),
    )  # fmt: skip
    return [Delete(each.key, each.revision) for each in every if each.subject == name]
