"""Sessions: logging in, the tokens that a log-in gives, and who is logged in. The rest is in `auth.py`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from rune.api.fields import Discreet, Int64, Message, Name, UnixSeconds
from rune.api.operation import Access, Effect, Http, Operation
from rune.api.orchestrator.admin import ADMIN

Secret = Annotated[str, Meta(max_length=1024)]
SessionId = Annotated[str, Meta(min_length=1, max_length=64)]


class LogInRequest(Discreet):
    """Who, and the password."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    password: Secret = ""


class LogInResponse(Discreet):
    """The session that has begun. Its tokens are shown this once."""

    session_id: str = ""
    subject_name: str = ""
    access_token: str = ""
    """What every call shows, for a quarter of an hour."""
    refresh_token: str = ""
    """What RefreshSession trades for the next two."""
    expires_at: Int64 = 0
    """When the access token ends, in Unix seconds."""


class BeginSessionRequest(Message):
    """Nothing to say: the credential says it."""


class LogOutRequest(Message):
    """Nothing to say: the credential says it."""


class LogOutResponse(Message):
    """Whether a session ended; a token that is of none stays good."""

    ended: bool = False


class SessionInfo(Message):
    """A session, without its tokens."""

    id: str = ""
    subject_name: str = ""
    subject_id: str = ""
    way: str = ""
    """How it began: password, oidc, token, session or enrollment."""
    edge: str = ""
    """From where: grpc, http or dashboard."""
    address: str = ""
    begun_at: UnixSeconds = None
    refreshed_at: UnixSeconds = None
    expires_at: UnixSeconds = None
    """When it ends unless it is refreshed."""
    current: bool = False
    """It is the one that asks."""


class ListSessionsRequest(Message):
    """Whose sessions."""

    everybody: bool = False
    """Those of all subjects, for whoever may do everything in `admin`; else the caller's own."""


class ListSessionsResponse(Message):
    """The sessions, newest first."""

    sessions: list[SessionInfo] = []


class RevokeSessionRequest(Message):
    """Which session: one's own, or for whoever may do everything in `admin` anybody's."""

    id: SessionId


class RevokeSessionResponse(Message):
    """Whether there was one; a second time is fine."""

    revoked: bool = False


class BeginOidcRequest(Message):
    """Where the provider shall send the browser back to."""

    redirect_uri: Annotated[str, Meta(min_length=1, max_length=2048)]


class BeginOidcResponse(Discreet):
    """Where to send the browser, and what it shall bring back."""

    url: str = ""
    ticket: str = ""
    """Kept by whoever began, apart from the address: no other browser can finish what this one began."""


class FinishOidcRequest(Discreet):
    """What the provider sent the browser back with."""

    ticket: Secret = ""
    state: Secret = ""
    code: Annotated[str, Meta(max_length=4096)] = ""


class SetPasswordRequest(Discreet):
    """Whose password, and what it shall be."""

    name: Name
    password: Secret = ""
    """Twelve characters at least; empty takes it away: the user logs in with it no more."""


class SetPasswordResponse(Message):
    """What came of it."""

    sessions: Annotated[int, Meta(ge=0, le=2**31 - 1, extra={"proto": "int32"})] = 0
    """How many sessions of the user ended."""


class ChangePasswordRequest(Discreet):
    """One's own password: what it was, and what it shall be."""

    old_password: Secret = ""
    new_password: Secret = ""
    """Twelve characters at least, and another than before."""


class ChangePasswordResponse(Message):
    """What came of it."""

    sessions: Annotated[int, Meta(ge=0, le=2**31 - 1, extra={"proto": "int32"})] = 0
    """How many other sessions ended."""


_AUTH: dict[str, Any] = {"service": "AuthService", "resource": "auth"}

log_in = Operation(
    method="LogIn",
    request=LogInRequest,
    response=LogInResponse,
    summary="Begin a session with a user's name and password.",
    verb="create",
    http=Http(verb="POST", path="/v1/auth/login", body="*"),
    access=Access.PUBLIC,
    effect=Effect.CHANGE,
    **_AUTH,
)
begin_oidc = Operation(
    method="BeginOidc",
    request=BeginOidcRequest,
    response=BeginOidcResponse,
    summary="Begin to log in at the OpenID provider.",
    verb="create",
    http=Http(verb="POST", path="/v1/auth/oidc/begin", body="*"),
    access=Access.PUBLIC,
    effect=Effect.RECORD,
    **_AUTH,
)
finish_oidc = Operation(
    method="FinishOidc",
    request=FinishOidcRequest,
    response=LogInResponse,
    summary="Begin a session with what the OpenID provider said.",
    verb="create",
    http=Http(verb="POST", path="/v1/auth/oidc/finish", body="*"),
    access=Access.PUBLIC,
    effect=Effect.CHANGE,
    **_AUTH,
)
begin = Operation(
    method="BeginSession",
    request=BeginSessionRequest,
    response=LogInResponse,
    summary="Begin a session with the token that the call shows; it ends with that token.",
    verb="create",
    http=Http(verb="POST", path="/v1/auth/sessions", body="*"),
    access=Access.KNOWN,
    effect=Effect.CHANGE,
    **_AUTH,
)
log_out = Operation(
    method="LogOut",
    request=LogOutRequest,
    response=LogOutResponse,
    summary="End the session whose token the call shows.",
    verb="delete",
    http=Http(verb="POST", path="/v1/auth/logout", body="*"),
    access=Access.KNOWN,
    effect=Effect.SETTLE,
    **_AUTH,
)
list_ = Operation(
    method="ListSessions",
    request=ListSessionsRequest,
    response=ListSessionsResponse,
    summary="List who is logged in: your own sessions, or everybody's.",
    verb="list",
    http=Http(verb="GET", path="/v1/auth/sessions"),
    cli="admin session list",
    access=Access.KNOWN,
    **_AUTH,
)
revoke = Operation(
    method="RevokeSession",
    request=RevokeSessionRequest,
    response=RevokeSessionResponse,
    summary="End a session at once, with everything that it has open.",
    verb="delete",
    http=Http(verb="DELETE", path="/v1/auth/sessions/{id}"),
    cli="admin session revoke {id}",
    access=Access.KNOWN,
    effect=Effect.DESTROY,
    **_AUTH,
)
change_password = Operation(
    method="ChangePassword",
    request=ChangePasswordRequest,
    response=ChangePasswordResponse,
    summary="Change your own password; your other sessions that began with a password end.",
    verb="update",
    http=Http(verb="PUT", path="/v1/auth/password", body="*"),
    name="change_password",
    access=Access.KNOWN,
    effect=Effect.SETTLE,
    **_AUTH,
)
set_password = Operation(
    method="UserSetPassword",
    request=SetPasswordRequest,
    response=SetPasswordResponse,
    summary="Set or take away a user's password; sessions that began with the one before end.",
    http=Http(verb="PUT", path="/v1/admin/users/{name}/password", body="*"),
    name="set_password",
    effect=Effect.SETTLE,
    **ADMIN,
)
