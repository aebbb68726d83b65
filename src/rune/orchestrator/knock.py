"""Knock: asks a registry as an Engine would, to learn whether it lets us in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Credentials
from rune.orchestrator.runners.docker.registries import DOCKER_HUB, host_of

PATIENCE: Final = 15.0
MOST: Final = 1 << 20
"""Bytes of an answer that are read."""
HUB: Final = "registry-1.docker.io"
"""Where Docker Hub answers for the name that images and credentials use."""
UNAUTHORIZED: Final = 401
MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"]*)"')


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


async def knock(host: str, image: str, credentials: Credentials | None) -> str:
    """Ask for the registry's front page, or an image's manifest; returns what it said, in words.

    Raises FailedPrecondition with the reason when it does not let us in.
    """
    path = _path(image)
    async with httpx.AsyncClient(timeout=PATIENCE, headers={"accept": MANIFESTS}) as client:
        errors: list[str] = []
        for base in _bases(host):
            try:
                return await _ask(client, base + path, credentials)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                errors.append(f"{base}: {str(error)[:200] or type(error).__name__}")
    raise FailedPrecondition(f"cannot be reached: {'; '.join(errors)}")


def _bases(host: str) -> list[str]:
    """Plain HTTP only where an Engine allows it: on this very machine."""
    if host == DOCKER_HUB:
        return [f"https://{HUB}"]
    return [f"https://{host}", *([f"http://{host}"] if _is_loopback(host) else [])]


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _path(image: str) -> str:
    if not image:
        return "/v2/"
    first, slash, rest = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    name = rest if is_host else image
    if host_of(image) == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    repository, at, digest = name.partition("@")
    if at:
        return f"/v2/{repository}/manifests/{digest}"
    repository, colon, tag = name.rpartition(":")
    return f"/v2/{repository}/manifests/{tag}" if colon else f"/v2/{name}/manifests/latest"


async def _ask(client: httpx.AsyncClient, url: str, credentials: Credentials | None) -> str:
    answer = await _look(client, url, {})
    if answer.status_code == UNAUTHORIZED:
        if credentials is None:
            raise FailedPrecondition("it asks for a log-in, and there are no credentials")
        allowed = await _log_in(client, answer, credentials)
        answer = await _look(client, url, {"authorization": allowed})
    if answer.is_success:
        return f"{url} answers {answer.status_code}"
    why = {401: "the credentials are refused", 403: "the credentials do not allow it", 404: "not found"}
    raise FailedPrecondition(
        f"{url} answers {answer.status_code}: {why.get(answer.status_code, answer.reason_phrase)}"
    )


async def _look(client: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """The head of the answer; not every registry knows HEAD everywhere, and no body is read."""
    async with client.stream("GET", url, headers=headers) as answer:
        return answer


async def _log_in(client: httpx.AsyncClient, refused: httpx.Response, credentials: Credentials) -> str:
    """What to show: the password itself, or a token that it is traded for."""
    url = str(refused.request.url)
    scheme, _, rest = refused.headers.get("www-authenticate", "").partition(" ")
    basic = httpx.BasicAuth(credentials.username, credentials.password)
    if scheme.lower() != "bearer":
        return next(basic.auth_flow(httpx.Request("HEAD", url))).headers["authorization"]
    asked = dict(CHALLENGE.findall(rest))
    realm = asked.pop("realm", "")
    if url.startswith("https://") and not realm.startswith("https://"):
        raise FailedPrecondition(f"it sends us to log in at {realm[:200]!r}, which is not encrypted")
    about = {key: asked[key] for key in ("service", "scope") if key in asked}
    if credentials.identity_token:
        form = {**about, "grant_type": "refresh_token", "refresh_token": credentials.identity_token}
        request = client.build_request("POST", realm, data={**form, "client_id": "rune"})
        return f"Bearer {await _token(client, request, None)}"
    return f"Bearer {await _token(client, client.build_request('GET', realm, params=about), basic)}"


async def _token(client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None) -> str:
    answer = await client.send(request, auth=auth, stream=True)
    try:
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MOST:
                raise FailedPrecondition("the answer of its log-in is too long")
    finally:
        await answer.aclose()
    if not answer.is_success:
        raise FailedPrecondition(f"the credentials are refused at log-in: {answer.status_code}")
    try:
        found = msgspec.json.decode(body, type=_Token)
    except msgspec.MsgspecError:
        raise FailedPrecondition(
            "the answer of its log-in is not understood"
        ) from None  # it may hold a token
    return found.token or found.access_token
