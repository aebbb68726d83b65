"""Sessions: the handlers of logging in and out, refreshing, enrolling. The rules are in `core.logins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rune.api.orchestrator import auth
from rune.api.orchestrator import sessions as api
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.logins import Logins
from rune.core.sessions import PREFIX, Pair, Session
from rune.errors import FailedPrecondition

if TYPE_CHECKING:
    from rune.core.federation import Federation

NO_PROVIDER = "no OpenID provider is set up here: see auth.oidc in the Runefile"


def register(dispatcher: Dispatcher, *, logins: Logins, federation: Federation | None = None) -> None:
    """Answer the operations of AuthService that are about sessions."""
    found = Sessions(logins, federation)
    for operation, handler in (
        (api.log_in, found.log_in),
        (api.begin_oidc, found.begin_oidc),
        (api.finish_oidc, found.finish_oidc),
        (api.begin, found.begin),
        (api.log_out, found.log_out),
        (api.list_, found.list),
        (api.revoke, found.revoke),
        (api.change_password, found.change_password),
        (api.set_password, found.set_password),
        (auth.refresh, found.refresh),
        (auth.enroll, found.enroll),
        (auth.redeem_enrollment, found.redeem),
    ):
        dispatcher.handles(operation)(handler)


class Sessions:
    """Who is logged in."""

    def __init__(self, logins: Logins, federation: Federation | None) -> None:
        self._logins, self._federation = logins, federation

    async def log_in(self, call: Call, ask: api.LogInRequest) -> api.LogInResponse:
        """Slower and slower for whoever guesses."""
        return answered(await self._logins.with_password(ask.name.strip(), ask.password, call.caller))

    async def begin_oidc(self, call: Call, ask: api.BeginOidcRequest) -> api.BeginOidcResponse:
        """Nothing is kept here: whoever begins keeps the ticket."""
        if self._federation is None:
            raise FailedPrecondition(NO_PROVIDER)
        way = await self._federation.begin(ask.redirect_uri)
        return api.BeginOidcResponse(url=way.url, ticket=way.ticket)

    async def finish_oidc(self, call: Call, ask: api.FinishOidcRequest) -> api.LogInResponse:
        """Each ticket once."""
        if self._federation is None:
            raise FailedPrecondition(NO_PROVIDER)
        return answered(await self._federation.finish(ask.ticket, ask.state, ask.code, caller=call.caller))

    async def begin(self, call: Call, ask: api.BeginSessionRequest) -> api.LogInResponse:
        """For programs that should not keep the token itself, such as the dashboard."""
        return answered(await self._logins.with_credential(call.principal, call.caller))

    async def refresh(self, call: Call, ask: auth.RefreshRequest) -> auth.RefreshResponse:
        """Each refresh token once; a second trade of an old one ends the session."""
        pair = await self._logins.refresh(ask.refresh_token.strip(), call.caller)
        return auth.RefreshResponse(
            access_token=pair.access, refresh_token=pair.refresh, expires_at=_ends(pair.session)
        )

    async def log_out(self, call: Call, ask: api.LogOutRequest) -> api.LogOutResponse:
        """The session that asks, and those that were begun with it."""
        own = call.principal.credential
        if not own.startswith(PREFIX):
            return api.LogOutResponse(ended=False)
        return api.LogOutResponse(ended=await self._logins.end(own.removeprefix(PREFIX), call.principal))

    async def list(self, call: Call, ask: api.ListSessionsRequest) -> api.ListSessionsResponse:
        """One's own, or everybody's."""
        found = self._logins.shown_to(call.principal, everybody=ask.everybody)
        return api.ListSessionsResponse(sessions=[_shown(each, call) for each in found])

    async def revoke(self, call: Call, ask: api.RevokeSessionRequest) -> api.RevokeSessionResponse:
        """Its streams and pages end at once."""
        return api.RevokeSessionResponse(revoked=await self._logins.end(ask.id, call.principal))

    async def set_password(self, call: Call, ask: api.SetPasswordRequest) -> api.SetPasswordResponse:
        """The password itself is hashed and forgotten."""
        ended = await self._logins.set_password(ask.name, ask.password, call.principal)
        return api.SetPasswordResponse(sessions=ended)

    async def change_password(self, call: Call, ask: api.ChangePasswordRequest) -> api.ChangePasswordResponse:
        """The session that asks goes on."""
        ended = await self._logins.change_password(
            call.principal, ask.old_password, ask.new_password, caller=call.caller
        )
        return api.ChangePasswordResponse(sessions=ended)

    async def enroll(self, call: Call, ask: auth.EnrollRequest) -> auth.EnrollResponse:
        """Nobody makes a code for somebody who may do more."""
        code, until = await self._logins.enroll(call.principal, ask)
        return auth.EnrollResponse(code=code, expires_at=int(until.timestamp()))

    async def redeem(self, call: Call, ask: auth.RedeemEnrollmentRequest) -> auth.RedeemEnrollmentResponse:
        """Once."""
        pair = await self._logins.redeem(ask.code.strip(), call.caller)
        return auth.RedeemEnrollmentResponse(
            access_token=pair.access,
            refresh_token=pair.refresh,
            expires_at=_ends(pair.session),
            subject_id=pair.session.subject_id,
        )


def answered(pair: Pair) -> api.LogInResponse:
    """A session that has begun, for whoever began it."""
    return api.LogInResponse(
        session_id=pair.session.id,
        subject_name=pair.session.subject,
        access_token=pair.access,
        refresh_token=pair.refresh,
        expires_at=_ends(pair.session),
    )


def _ends(session: Session) -> int:
    return int(session.access_until.timestamp()) if session.access_until else 0


def _shown(session: Session, call: Call) -> api.SessionInfo:
    return api.SessionInfo(
        id=session.id,
        subject_name=session.subject,
        subject_id=session.subject_id,
        way=session.way,
        edge=session.edge,
        address=session.address,
        begun_at=session.begun_at,
        refreshed_at=session.refreshed_at,
        expires_at=session.until,
        current=call.principal.credential == f"{PREFIX}{session.id}",
    )
