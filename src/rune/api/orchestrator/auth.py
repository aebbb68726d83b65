"""Auth: who the caller is, and the tokens that say so."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Discreet, Int64, Message, Name, Text, later
from rune.api.operation import Access, Effect, Http, Operation


class WhoAmIRequest(Message):
    """Nothing to say: the credential says it."""


class WhoAmIResponse(Message):
    """Who the caller is."""

    subject_id: str = ""
    subject_name: str = ""
    subject_email: str = ""
    policies: list[str] = []
    """The names of the grants that are attached to it."""


class ListMyPermissionsRequest(Message):
    """Nothing to say: the credential says it."""


class ListMyPermissionsResponse(Message):
    """What the caller may do."""

    operations: list[str] = []
    """The names of the operations that it may call in at least one namespace, as in the reference."""
    rights: str = ""
    """Stands for all that it may do and where; equal for callers who may do exactly the same."""


class CreateTokenRequest(Message):
    """Whose token to make. A user that does not exist yet is made, with these policies or `readonly`."""

    name: Text = ""
    """What the token is for; the subject's name when empty."""
    subject_id: Text = ""
    subject_name: Text = ""
    subject_type: Text = ""
    """`user` (also when empty) or `service`."""
    policies: list[Text] = []
    """For a new subject; one that exists keeps its own, and naming others is refused."""
    ttl_seconds: Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"proto": "int64"})] = 0
    """0 never expires; ten years are the most."""
    description: Text = ""
    kind: Text = ""


class CreateTokenResponse(Discreet):
    """The token. Its secret is shown this once."""

    id: str = ""
    name: str = ""
    secret: str = ""


class RevokeTokenRequest(Message):
    """Which token."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    force: bool = False
    """Revoke it even if nobody can do everything any more afterwards."""


class RevokeTokenResponse(Message):
    """Whether it was revoked; a second time is fine."""

    revoked: bool = False


class RefreshRequest(Discreet):
    """A session's refresh token."""

    refresh_token: Text = ""


class RefreshResponse(Discreet):
    """The session's next tokens."""

    access_token: str = ""
    refresh_token: str = ""
    expires_at: Int64 = 0


class EnrollRequest(Message):
    """Whom to make an enrollment code for. A user that does not exist yet is made, with these policies."""

    subject_name: Name
    subject_type: Text = ""
    """`user` (also when empty) or `service`."""
    policies: list[Text] = []
    """For a new subject; `readonly` when empty."""
    ttl_seconds: Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"proto": "int64"})] = 0
    """0 is an hour; a week is the most."""


class EnrollResponse(Discreet):
    """The code, good once."""

    code: str = ""
    expires_at: Int64 = 0


class RedeemEnrollmentRequest(Discreet):
    """The code."""

    code: Text = ""
    grant_name: Annotated[Text, later("a code speaks for one subject, whose policies decide")] = ""


class RedeemEnrollmentResponse(Discreet):
    """The session that the code was turned into."""

    access_token: str = ""
    refresh_token: str = ""
    expires_at: Int64 = 0
    subject_id: str = ""


whoami = Operation(
    service="AuthService",
    method="WhoAmI",
    name="who_am_i",
    request=WhoAmIRequest,
    response=WhoAmIResponse,
    summary="See who the server takes you for.",
    resource="auth",
    verb="get",
    http=Http(verb="GET", path="/v1/auth/whoami"),
    access=Access.KNOWN,
)
list_permissions = Operation(
    service="AuthService",
    method="ListMyPermissions",
    name="list_permissions",
    request=ListMyPermissionsRequest,
    response=ListMyPermissionsResponse,
    summary="List the operations that you may call.",
    resource="auth",
    verb="list",
    http=Http(verb="GET", path="/v1/auth/permissions"),
    access=Access.KNOWN,
)
create_token = Operation(
    service="AuthService",
    method="CreateToken",
    request=CreateTokenRequest,
    response=CreateTokenResponse,
    summary="Make a token for a user or a service account.",
    resource="auth",
    verb="*",
    http=Http(verb="POST", path="/v1/auth/tokens", body="*"),
    effect=Effect.CHANGE,
)
revoke_token = Operation(
    service="AuthService",
    method="RevokeToken",
    request=RevokeTokenRequest,
    response=RevokeTokenResponse,
    summary="Revoke a token at once, also for streams that are open.",
    resource="auth",
    verb="*",
    http=Http(verb="DELETE", path="/v1/auth/tokens/{id}"),
    cli="admin token revoke {id}",
    effect=Effect.DESTROY,
)
refresh = Operation(
    service="AuthService",
    method="Refresh",
    name="refresh_session",
    request=RefreshRequest,
    response=RefreshResponse,
    summary="Trade a refresh token for the session's next tokens.",
    resource="auth",
    verb="create",
    http=Http(verb="POST", path="/v1/auth/refresh", body="*"),
    access=Access.PUBLIC,
    effect=Effect.CHANGE,
)
enroll = Operation(
    service="AuthService",
    method="Enroll",
    name="create_enrollment",
    request=EnrollRequest,
    response=EnrollResponse,
    summary="Make a one-time enrollment code.",
    resource="auth",
    verb="*",
    http=Http(verb="POST", path="/v1/auth/enrollments", body="*"),
    effect=Effect.CHANGE,
)
redeem_enrollment = Operation(
    service="AuthService",
    method="RedeemEnrollment",
    request=RedeemEnrollmentRequest,
    response=RedeemEnrollmentResponse,
    summary="Trade an enrollment code for a session.",
    resource="auth",
    verb="create",
    http=Http(verb="POST", path="/v1/auth/enrollments/redeem", body="*"),
    access=Access.PUBLIC,
    effect=Effect.CHANGE,
)
