"""An OpenID provider for tests: real HTTP on loopback, real signatures, and any lie that a test asks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from rune.core.clock import SystemClock

CLIENT, SECRET = "rune", "a-secret:with %signs"
PATIENCE = 10.0
Lie = Callable[[dict[str, Any]], None]


@cache
def key_of(name: str) -> rsa.RSAPrivateKey:
    """The same for all tests of a process: to find one takes a tenth of a second and more."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@dataclass
class Liar:
    """The provider, and what it gives."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    """What it says of whoever logs in, beside what every word has."""
    lie: Lie | None = None
    """Changes a word before it is signed."""
    algorithm: str = "RS256"
    kid: str = "one"
    published: list[str] = field(default_factory=lambda: ["one"])
    begun: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """What was asked for, by the codes that were given for it."""
    asked: list[str] = field(default_factory=list[str])
    """The paths that were asked for."""
    issuer: str = ""
    """What it calls itself; its address unless it lies."""

    keys: dict[str, str] = field(default_factory=dict[str, str])
    """Keys that hide behind the name of another."""

    def key(self, kid: str) -> rsa.RSAPrivateKey:
        """A key of that name."""
        return key_of(self.keys.get(kid, kid))

    def word(self, asked: Mapping[str, str]) -> str:
        """An ID token."""
        now = moment()
        said = {
            "iss": self.issuer or self.url, "aud": CLIENT, "sub": "person-1", "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], **self.claims,
        }  # fmt: skip
        if self.lie:
            self.lie(said)
        head = {"kid": self.kid}
        if self.algorithm == "none":
            return f"{_base64({'alg': 'none', **head})}.{_base64(said)}."
        if self.algorithm == "HS256":  # with the public key as the secret: the oldest trick
            return self._with_public_key(said, head)
        return jwt.encode(said, self.key(self.kid), algorithm=self.algorithm, headers=head)

    def _with_public_key(self, said: Mapping[str, Any], head: Mapping[str, Any]) -> str:
        public = self.key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signed = f"{_base64({'alg': 'HS256', 'typ': 'JWT', **head})}.{_base64(said)}"
        mark = hmac.digest(public, signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"

    def authorize(self, url: str) -> str:
        """Log in at the page that a browser was sent to; gives where it is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self.begun)}"
        self.begun[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    async def configuration(self, request: Request) -> Response:
        """What it calls itself, and where it does what."""
        self.asked.append(request.url.path)
        return JSONResponse({
            "issuer": self.issuer or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        })  # fmt: skip

    async def published_keys(self, request: Request) -> Response:
        """Its public keys."""
        self.asked.append(request.url.path)
        keys = [RSAAlgorithm.to_jwk(self.key(kid).public_key(), as_dict=True) for kid in self.published]
        named = [{**key, "kid": kid, "use": "sig"} for key, kid in zip(keys, self.published, strict=True)]
        return JSONResponse({"keys": named})

    async def page(self, request: Request) -> Response:
        """The log-in page, at which everybody is let in at once."""
        return RedirectResponse(self.authorize(str(request.url)), 303)

    async def token(self, request: Request) -> Response:
        """A word for a code, once, to whoever knows the client's secret and the verifier."""
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.begun.pop(form.get("code", ""), None)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = base64.b64encode(b"rune:a-secret%3Awith%20%25signs").decode()
        if scheme != "Basic" or given != known:
            return JSONResponse({"error": "invalid_client"}, 401)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or proof.rstrip(b"=").decode() != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self.word(asked)})


def moment() -> int:
    """Now, in Unix seconds."""
    return int(SystemClock().now().timestamp())


def _base64(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@asynccontextmanager
async def provider() -> AsyncGenerator[Liar]:
    """A provider on a port of its own."""
    liar = Liar(
        claims={"preferred_username": "Ann.Smith", "email": "ann@example.com", "email_verified": True}
    )
    routes = [
        Route("/.well-known/openid-configuration", liar.configuration),
        Route("/keys", liar.published_keys),
        Route("/authorize", liar.page),
        Route("/token", liar.token, methods=["POST"]),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    liar.url = f"http://127.0.0.1:{port}"
    try:
        yield liar
    finally:
        await _end(server)


async def _end(server: uvicorn.Server) -> None:
    """Its own way to an end looks only every tenth of a second whether it may."""
    for each in server.servers:
        each.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    async with asyncio.timeout(PATIENCE):
        while server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0)  # noqa: TID251 - as above
