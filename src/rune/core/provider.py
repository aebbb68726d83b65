"""Provider: speaks OpenID Connect with one provider. What it says of somebody counts once it is verified.

Authorization code with PKCE, state and nonce. What was begun is kept by whoever began it, sealed with a key
of this process, so that strangers who begin log-ins fill nothing here. Signatures are checked against the
keys that the provider publishes; an unknown one makes us read them again, but not every few
seconds.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

import httpx
import jwt
import msgspec
from cryptography.fernet import Fernet, InvalidToken

from rune.core.clock import Clock
from rune.core.keyfiles import read_private
from rune.core.settings import is_safe
from rune.core.tokens import digest
from rune.errors import FailedPrecondition, Unauthenticated, Unavailable

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that are heard: none that a shared secret could make, and never `none`."""
SKEW: Final = 60.0
"""Seconds that the provider's clock may differ from ours."""
PATIENCE: Final = 10.0
LARGEST: Final = 1 << 20
KEPT: Final = 3600.0
"""Seconds after which the provider's configuration and keys are read again."""
AGAIN: Final = 10.0
"""Seconds between two looks for a key that is not there."""
MINUTES: Final = 10
"""How long somebody may take at the provider."""
MOST_USED: Final = 10_000
OK: Final = 200


class _Discovered(msgspec.Struct, frozen=True):
    """The provider's configuration, as far as it is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Granted(msgspec.Struct, frozen=True):
    id_token: str = ""
    error: str = ""


class _Begun(msgspec.Struct, frozen=True):
    """What a ticket holds."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """How the provider knows us."""

    issuer: str
    client_id: str
    secret_file: str = ""
    scopes: str = "openid"


@dataclass(frozen=True, slots=True)
class Way:
    """Where to send a browser, and what it shall bring back beside what the provider gives it."""

    url: str
    ticket: str = field(repr=False)


@dataclass(slots=True)
class _Keys:
    discovered: _Discovered
    keys: Mapping[str, jwt.PyJWK]
    at: float


class Provider:
    """One provider."""

    def __init__(self, registered: Registered, clock: Clock) -> None:
        self._registered, self._clock = registered, clock
        self._box = Fernet(Fernet.generate_key())
        self._used: OrderedDict[str, None] = OrderedDict()
        self._known: _Keys | None = None

    async def begin(self, redirect_uri: str) -> Way:
        """A log-in that whoever holds the ticket can finish within ten minutes."""
        discovered = (await self._keys()).discovered
        verifier = secrets.token_urlsafe(48)
        begun = _Begun(secrets.token_urlsafe(24), secrets.token_urlsafe(24), verifier, redirect_uri)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": self._registered.client_id, "redirect_uri": redirect_uri,
            "scope": self._registered.scopes, "state": begun.state, "nonce": begun.nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        base = discovered.authorization_endpoint
        sealed = self._box.encrypt_at_time(msgspec.json.encode(begun), self._now)
        return Way(f"{base}{'&' if '?' in base else '?'}{urlencode(asked)}", sealed.decode())

    async def finish(self, ticket: str, state: str, code: str) -> Mapping[str, Any]:
        """The verified claims of who logged in; raises Unauthenticated, each ticket is heard once."""
        begun = self._opened(ticket)
        if not compare_digest(begun.state.encode(), state.encode("utf-8", "replace")):
            raise Unauthenticated("the log-in was not begun in this browser: begin again")
        mark = digest(ticket)
        if mark in self._used:
            raise Unauthenticated("this log-in was finished already: begin again")
        self._used[mark] = None
        if len(self._used) > MOST_USED:
            self._used.popitem(last=False)
        return await self._verified(await self._traded(begun, code), begun.nonce)

    @property
    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    def _opened(self, ticket: str) -> _Begun:
        try:
            data = self._box.decrypt_at_time(ticket.encode(), MINUTES * 60, self._now)
            return msgspec.json.decode(data, type=_Begun)
        except (InvalidToken, msgspec.MsgspecError, ValueError) as error:
            raise Unauthenticated("the log-in took too long, or began elsewhere: begin again") from error

    async def _traded(self, begun: _Begun, code: str) -> str:
        """The code for an ID token."""
        discovered = (await self._keys()).discovered
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier, "client_id": self._registered.client_id,
        }  # fmt: skip
        secret, basic = self._secret(), None
        methods = discovered.token_endpoint_auth_methods_supported
        if secret and "client_secret_basic" not in methods and "client_secret_post" in methods:
            form["client_secret"] = secret
        elif secret:
            basic = httpx.BasicAuth(quote(self._registered.client_id, safe=""), quote(secret, safe=""))
        status, data = await _asked("POST", discovered.token_endpoint, form=form, basic=basic)
        try:
            granted = msgspec.json.decode(data, type=_Granted)
        except msgspec.MsgspecError as error:
            raise Unavailable("the OpenID provider's answer to a code is not readable") from error
        if status != OK or not granted.id_token:
            raise Unauthenticated(f"the OpenID provider refused: {granted.error[:64] or status}")
        return granted.id_token

    def _secret(self) -> str:
        file = self._registered.secret_file
        return read_private(Path(file), "the client's secret").decode().strip() if file else ""

    async def _verified(self, token: str, nonce: str) -> Mapping[str, Any]:
        try:
            head = jwt.get_unverified_header(token)
            key = await self._key(str(head.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._registered.client_id,
                issuer=self._registered.issuer,
                leeway=SKEW,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the OpenID provider's word does not hold: {error}") from error
        if not compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Unauthenticated("the OpenID provider's word does not hold: it answers another log-in")
        if not _is_for(claims, self._registered.client_id):
            raise Unauthenticated("the OpenID provider's word does not hold: it is for another client")
        return claims

    async def _key(self, kid: str) -> jwt.PyJWK:
        """The key of that name; keys change, so one that is unknown makes us look again."""
        for is_last in (False, True):
            known = await self._keys(again=is_last)
            if kid in known.keys:
                return known.keys[kid]
            if not kid and len(known.keys) == 1:
                return next(iter(known.keys.values()))
        raise Unauthenticated("the OpenID provider's word does not hold: nobody knows the key that signed it")

    async def _keys(self, *, again: bool = False) -> _Keys:
        now, known = self._clock.monotonic(), self._known
        if known is not None and now - known.at < (AGAIN if again else KEPT):
            return known
        issuer = self._registered.issuer
        found = await _read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            discovered = msgspec.json.decode(found, type=_Discovered)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"the configuration of the OpenID provider {issuer} is not readable") from error
        if discovered.issuer != issuer:
            raise FailedPrecondition(
                f"the OpenID provider calls itself {discovered.issuer[:200]!r}: auth.oidc.issuer must say so"
            )
        for url in (discovered.authorization_endpoint, discovered.token_endpoint, discovered.jwks_uri):
            if not is_safe(url):
                raise FailedPrecondition(f"the OpenID provider names {url[:200]!r}, which anybody could read")
        self._known = _Keys(discovered, _key_set(await _read(discovered.jwks_uri)), now)
        return self._known


def _is_for(claims: Mapping[str, Any], client: str) -> bool:
    """The word is for us: with several audiences it must say that we are the party, and never another."""
    said: object = claims["aud"]
    several = isinstance(said, list) and len(cast("list[object]", said)) > 1
    party: object = claims.get("azp")
    return party == client or (party is None and not several)


def _key_set(data: bytes) -> Mapping[str, jwt.PyJWK]:
    try:
        plain = msgspec.json.decode(data, type=dict[str, Any])
        keys = jwt.PyJWKSet.from_dict(plain).keys
    except (msgspec.MsgspecError, jwt.PyJWTError) as error:
        raise Unavailable("the keys of the OpenID provider are not readable") from error
    return {str(key.key_id or ""): key for key in keys if key.public_key_use in (None, "sig")}


async def _read(url: str) -> bytes:
    status, data = await _asked("GET", url)
    if status != OK:
        raise Unavailable(f"the OpenID provider answers {url} with {status}")
    return data


async def _asked(
    verb: str, url: str, *, form: Mapping[str, str] | None = None, basic: httpx.BasicAuth | None = None
) -> tuple[int, bytes]:
    """Status and body, of a bounded size; redirects are not followed, proxies of the environment not used."""
    data = b""
    try:
        async with (
            httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http,
            http.stream(verb, url, data=form, auth=basic, headers={"accept": "application/json"}) as answer,
        ):
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > LARGEST:
                    raise Unavailable(f"the OpenID provider's answer has more than {LARGEST} bytes")
            return answer.status_code, data
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"the OpenID provider does not answer at {url}: {type(error).__name__}") from error
