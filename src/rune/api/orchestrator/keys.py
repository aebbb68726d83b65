"""Keys: the KEK, which encrypts the keys of everything sealed, and its rotation."""

from __future__ import annotations

from rune.api.fields import Count, Message
from rune.api.operation import Effect, Http, Operation
from rune.api.orchestrator.admin import ADMIN


class RotateKekRequest(Message):
    """Nothing to say."""


class RotateKekResponse(Message):
    """What everything is sealed with now."""

    kek_id: str = ""
    """The first half of a SHA-256 over the key; tells keys apart and nothing of them."""
    rewrapped: Count = 0
    """How many sealed values had their key encrypted anew; the values themselves stay as they are."""
    older_ids: list[str] = []
    """Older keys that open nothing any more and that this server may not remove: it is for you to do."""


rotate = Operation(
    method="RotateKek",
    request=RotateKekRequest,
    response=RotateKekResponse,
    summary="Seal with a new key from now on, and move everything sealed to it.",
    http=Http(verb="POST", path="/v1/admin/kek:rotate", body="*"),
    cli="admin rotate-kek",
    effect=Effect.CHANGE,
    **ADMIN,
)
