"""Amazon ECR: trades the keys of an AWS account for a registry's password, which is good for twelve hours."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from rune.core.clock import Clock
from rune.errors import FailedPrecondition, Unavailable

HOST: Final = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)")
TARGET: Final = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
ENDPOINT: Final = "AWS_ENDPOINT_URL_ECR"
"""The variable by which AWS's own tools are sent to another address."""
EARLY: Final = timedelta(minutes=5)
"""A password is not given out any more when it ends this soon."""
PATIENCE: Final = 15.0
MOST: Final = 64
"""Passwords that are kept."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Whose keys they are, and where."""

    key_id: str
    secret: str
    session: str = ""
    region: str

    def __repr__(self) -> str:
        return f"Account({self.key_id!r}, region={self.region!r}, ***)"


class _Token(msgspec.Struct, frozen=True, rename="camel"):
    authorization_token: str
    expires_at: float = 0.0


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    authorization_data: list[_Token]


class Ecr:
    """Asks for passwords, and keeps each until shortly before it ends."""

    def __init__(self, environ: Mapping[str, str], *, clock: Clock) -> None:
        self._environ = environ
        self._clock = clock
        self._kept: dict[Account, tuple[str, str, datetime]] = {}

    async def login(self, account: Account, host: str) -> tuple[str, str]:
        """A user's name and a password; raises FailedPrecondition when AWS refuses, Unavailable when it is
        out of reach.
        """
        kept = self._kept.get(account)
        if kept is None or kept[2] - EARLY <= self._clock.now():
            kept = await self._ask(account, host)
            self._kept[account] = kept
            if len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
        return kept[0], kept[1]

    async def _ask(self, account: Account, host: str) -> tuple[str, str, datetime]:
        import httpx  # noqa: PLC0415 - a large library, and few have a registry there

        found = HOST.fullmatch(host)
        suffix = found[2] if found else "amazonaws.com"
        url = self._environ.get(ENDPOINT) or f"https://api.ecr.{account.region}.{suffix}/"
        headers = signed(account, url, b"{}", now=self._clock.now())
        try:
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                answer = await client.post(url, content=b"{}", headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"ECR cannot be reached at {url}: {type(error).__name__}") from error
        if not answer.is_success:
            kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0][:100]
            raise FailedPrecondition(f"ECR refuses the keys: {answer.status_code} {kind}".strip())
        return _read(answer.content)


def region_of(host: str) -> str:
    """The region that an ECR registry's name says; empty for another host."""
    found = HOST.fullmatch(host)
    return found[1] if found else ""


def signed(account: Account, url: str, body: bytes, *, now: datetime) -> dict[str, str]:
    """The headers of a request that AWS takes (Signature Version 4)."""
    moment = now.astimezone(UTC)
    stamp, day = moment.strftime("%Y%m%dT%H%M%SZ"), moment.strftime("%Y%m%d")
    parts = urlsplit(url)
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": parts.netloc,
        "x-amz-date": stamp,
        **({"x-amz-security-token": account.session} if account.session else {}),
        "x-amz-target": TARGET,
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join(("POST", parts.path or "/", "", lines, names, sha256(body).hexdigest()))
    scope = f"{day}/{account.region}/ecr/aws4_request"
    wanted = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, sha256(canonical.encode()).hexdigest()))
    key = signing_key(account.secret, (day, account.region, "ecr"))
    signature = hmac.digest(key, wanted.encode(), "sha256").hex()
    credential = f"Credential={account.key_id}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    return headers


def signing_key(secret: str, scope: Sequence[str]) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _read(content: bytes) -> tuple[str, str, datetime]:
    try:
        (token, *_) = msgspec.json.decode(content, type=_Answer).authorization_data
        user, colon, password = base64.b64decode(token.authorization_token).decode().partition(":")
    except (msgspec.MsgspecError, ValueError, binascii.Error):
        user = colon = password = ""
        token = _Token("")
    if not colon:
        raise Unavailable("ECR's answer is not understood")
    return user, password, datetime.fromtimestamp(token.expires_at, UTC)
