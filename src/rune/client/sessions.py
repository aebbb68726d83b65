"""One-time codes of the dashboard: a token is turned into a code that a browser may have."""

from __future__ import annotations

import httpx
import msgspec

from rune.client.client import credential
from rune.client.trust import Trust, refuse_plain
from rune.errors import FailedPrecondition, Unauthenticated, Unavailable

SECONDS = 10.0


class _Answer(msgspec.Struct, frozen=True):
    code: str = ""
    error: str = ""


def login_code(base: str, token: str, *, trust: Trust | None = None, insecure: bool = False) -> str:
    """A code that logs a browser in at `base`, once and within a minute.

    Raises Unauthenticated for a token that is no good, FailedPrecondition where there is no dashboard or the
    token would travel unencrypted, Unavailable where nobody answers.
    """
    if not base.startswith("https://"):
        refuse_plain(base, token, insecure=insecure)
    verify = trust.context() if trust is not None else True
    try:
        with httpx.Client(verify=verify, timeout=SECONDS, trust_env=False) as http:
            answer = http.post(f"{base}/ui/codes", headers=credential(token))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Unavailable(f"no dashboard answers at {base}: {error}") from error
    try:
        told = msgspec.json.decode(answer.content, type=_Answer)
    except msgspec.MsgspecError:
        told = _Answer()
    if answer.status_code == Unauthenticated.codes.http:
        raise Unauthenticated(told.error or "the token is not good there")
    if not told.code:
        raise FailedPrecondition(
            f"the server at {base} has no dashboard: install the extra `dashboard` there, "
            "and see that server.dashboard is on"
        )
    return told.code
