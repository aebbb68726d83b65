"""Users one by one: get, change, delete. How they are made and listed is in `admin.py`."""

from __future__ import annotations

from rune.api.fields import Count, Message, Name, Text, Uint64
from rune.api.operation import Effect, Http, Operation
from rune.api.orchestrator.admin import ADMIN, Subject


class UserGetRequest(Message):
    """Which user."""

    name: Name


class UserGetResponse(Message):
    """The user."""

    user: Subject | None = None


class UserUpdateRequest(Message):
    """What to change about a user or a service account; what is left out stays as it is."""

    name: Name
    email: Text = ""
    policies: list[Text] = []
    """The names of all grants that it shall have."""
    revision: Uint64 = 0
    """The revision that it was read at; 0 changes whatever is there."""


class UserUpdateResponse(Message):
    """The user as it was stored."""

    user: Subject | None = None


class UserDeleteRequest(Message):
    """Which user or service account. Its tokens go with it, and what they have open ends."""

    name: Name


class UserDeleteResponse(Message):
    """What was deleted."""

    deleted: bool = False
    tokens: Count = 0
    """How many tokens went with it."""


get = Operation(
    method="UserGet",
    request=UserGetRequest,
    response=UserGetResponse,
    summary="Get a user or a service account.",
    http=Http(verb="GET", path="/v1/admin/users/{name}"),
    name="get_user",
    cli="admin user get {name}",
    **ADMIN,
)
update = Operation(
    method="UserUpdate",
    request=UserUpdateRequest,
    response=UserUpdateResponse,
    summary="Change the e-mail address or the policies of a user.",
    http=Http(verb="PUT", path="/v1/admin/users/{name}", body="*"),
    name="update_user",
    cli="admin user update {name}",
    effect=Effect.SETTLE,
    **ADMIN,
)
delete = Operation(
    method="UserDelete",
    request=UserDeleteRequest,
    response=UserDeleteResponse,
    summary="Delete a user or a service account, and its tokens.",
    http=Http(verb="DELETE", path="/v1/admin/users/{name}"),
    name="delete_user",
    cli="admin user delete {name}",
    effect=Effect.DESTROY,
    **ADMIN,
)
