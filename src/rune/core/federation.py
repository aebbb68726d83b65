"""Federation: from what a provider says of somebody to a user here, with what their groups give."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast
from urllib.parse import urlsplit

from rune.api.fields import LABEL
from rune.api.orchestrator.admin import Subject
from rune.core.call import Caller
from rune.core.clock import Clock
from rune.core.enrollments import Federated, linked
from rune.core.logins import Logins, birth
from rune.core.provider import Provider, Registered, Way
from rune.core.rights import Rights
from rune.core.runefile import Oidc
from rune.core.sessions import Pair
from rune.core.settings import DONE, is_safe
from rune.errors import InvalidArgument, PermissionDenied, Violation

LASTS: Final = timedelta(hours=12)
"""After which the provider is asked again, whatever the session is: it may have let somebody go."""
MOST_GROUPS: Final = 1_000


class Federation:
    """Log-in at a provider."""

    def __init__(self, chosen: Oidc, logins: Logins, rights: Rights, *, clock: Clock) -> None:
        self._chosen, self._logins, self._rights, self._clock = chosen, logins, rights, clock
        registered = Registered(
            issuer=chosen.issuer, client_id=chosen.client_id, secret_file=chosen.client_secret_file,
            scopes=chosen.scopes,
        )  # fmt: skip
        self._provider = Provider(registered, clock)

    async def begin(self, redirect_uri: str) -> Way:
        """Where to go; raises InvalidArgument for an address that browsers must not be sent back to."""
        uri = self._chosen.redirect_url or redirect_uri
        parts = urlsplit(uri) if is_safe(uri) else None
        if parts is None or parts.path != DONE or parts.query or parts.fragment:
            reason = f"is an https:// address (http:// on this machine) that ends in {DONE}"
            raise InvalidArgument.of([Violation("redirect_uri", reason)])
        return await self._provider.begin(uri)

    async def finish(self, ticket: str, state: str, code: str, *, caller: Caller) -> Pair:
        """A session of whoever logged in; raises Unauthenticated, and PermissionDenied for who may not."""
        claims = await self._provider.finish(ticket, state, code)
        email = _text(claims, "email").lower() if claims.get("email_verified") is True else ""
        self._refuse_foreign(email)
        person = Federated(
            id=linked(self._chosen.issuer, str(claims["sub"])), issuer=self._chosen.issuer, subject=""
        )
        wanted = Subject(kind="user", name=self._name(claims), email=email, policies=self._policies(claims))
        subject = await self._rights.federate(person, wanted)
        return await self._logins.begin(subject, birth(caller, "oidc", last=self._clock.now() + LASTS))

    def _refuse_foreign(self, email: str) -> None:
        domains = _words(self._chosen.allowed_domains)
        if domains and email.rpartition("@")[2] not in domains:
            raise PermissionDenied(
                "log-in is for verified e-mail addresses of certain domains (auth.oidc.allowed-domains)"
            )

    def _name(self, claims: Mapping[str, Any]) -> str:
        """What the user is called here: the claim as a label, without the domain where there is one alone."""
        said = _text(claims, self._chosen.username_claim).lower()
        domains = _words(self._chosen.allowed_domains)
        if len(domains) == 1:
            said = said.removesuffix(f"@{domains[0]}")
        name = re.sub(r"[^a-z0-9]+", "-", said).strip("-")[:63].strip("-")
        if not re.fullmatch(LABEL, name):
            raise PermissionDenied(
                f"the provider names nobody in the claim {self._chosen.username_claim!r}: see "
                "auth.oidc.username-claim"
            )
        return name

    def _policies(self, claims: Mapping[str, Any]) -> list[str]:
        """What the person's groups give, or what everybody has."""
        said: object = claims.get(self._chosen.groups_claim)
        groups = cast("list[object]", said)[:MOST_GROUPS] if isinstance(said, list) else [said]
        given = [name for each in self._chosen.groups if each.group in groups for name in each.policies]
        found = list(dict.fromkeys(given)) or list(_words(self._chosen.default_policies))
        if not found:
            raise PermissionDenied("none of your groups may log in here (auth.oidc.groups)")
        return found


def _text(claims: Mapping[str, Any], name: str) -> str:
    said: object = claims.get(name)
    return said.strip()[:254] if isinstance(said, str) else ""


def _words(text: str) -> Sequence[str]:
    return tuple(word for each in text.split(",") if (word := each.strip().lower()))
