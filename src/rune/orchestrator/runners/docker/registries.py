"""Which credentials belong to which image: pure rules over what an operator has written down."""

from __future__ import annotations

import base64
import binascii

import msgspec

from rune.errors import InvalidArgument
from rune.orchestrator.runners.base import Credentials

DOCKER_HUB = "index.docker.io"

HUB_NAMES = frozenset({DOCKER_HUB, "docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

TOKEN_USER = "token"  # noqa: S105 - a user's name, as registries expect it beside a token


class _Auth(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identity_token: str = msgspec.field(name="identitytoken", default="")


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] = {}


def host_of(image: str) -> str:
    """The registry of an image; without one it is Docker Hub."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return _hub(first) if is_host else DOCKER_HUB


def matches(pattern: str, image: str) -> bool:
    """Whether a registry's pattern means this image: a host, or `*.example.com` for all below it."""
    host, wanted = host_of(image), _host(pattern)
    if wanted.startswith("*"):
        return host.endswith(wanted[1:])
    return host == wanted


def basic(username: str, password: str, *, server: str = "") -> Credentials:
    """A name and a password."""
    return Credentials(username=username, password=password, server=server)


def token(value: str, *, server: str = "") -> Credentials:
    """An access token, which registries take as the password of a user named `token`."""
    return Credentials(username=TOKEN_USER, password=value, server=server)


def ecr(value: str, *, server: str = "") -> Credentials:
    """The token that Amazon's registries give out, which holds a name and a password for twelve hours.

    Raises InvalidArgument, which tells nothing of the token, when it is none.
    """
    try:
        username, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        username, colon, password = "", "", ""
    if not (username and colon and password):
        raise InvalidArgument("ecr: must be an authorization token as GetAuthorizationToken answers it")
    return basic(username, password, server=server)


def dockerconfigjson(text: str, image: str) -> Credentials | None:
    """What the text of a Docker `config.json` has for the image; None when it has nothing.

    Raises InvalidArgument, which tells nothing of the text, when it is no such file.
    """
    try:
        config = msgspec.json.decode(text, type=_Config)
        found = next(((host, auth) for host, auth in config.auths.items() if matches(host, image)), None)
        return _read(*found) if found else None
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError):
        raise InvalidArgument(
            "dockerconfigjson: must be JSON as `docker login` writes it, with auths.<host>.auth"
        ) from None  # the cause would show the text


def _read(server: str, auth: _Auth) -> Credentials:
    if auth.identity_token:
        return Credentials(identity_token=auth.identity_token, server=server)
    if not auth.auth:
        return basic(auth.username, auth.password, server=server)
    username, _, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
    return basic(username, password, server=server)


def _host(pattern: str) -> str:
    """The host of what stands in a config file: with or without a scheme and a path."""
    return _hub(pattern.lower().removeprefix("https://").removeprefix("http://").partition("/")[0])


def _hub(host: str) -> str:
    return DOCKER_HUB if host.lower() in HUB_NAMES else host.lower()
