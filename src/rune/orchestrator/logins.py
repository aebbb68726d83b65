"""Logins: from what an operator wrote down about a registry to the credentials that it wants to see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from rune.core import runefile
from rune.errors import FailedPrecondition
from rune.orchestrator.ecr import Account, Ecr, region_of
from rune.orchestrator.runners.base import Credentials
from rune.orchestrator.runners.docker import registries as rules

BASIC, TOKEN, CONFIG, ECR = "basic", "token", "dockerconfigjson", "ecr"
TYPES: Final = (BASIC, TOKEN, CONFIG, ECR)
CONFIG_KEY: Final = ".dockerconfigjson"
LARGEST: Final = 1 << 20
"""Bytes of a file with credentials."""
ALIASES: Final = {"user": "username", "pass": "password", "tok": "token", "config.json": CONFIG_KEY}
"""Other words that secrets use."""
ENVIRONMENT: Final = {
    "awsAccessKeyId": "AWS_ACCESS_KEY_ID",
    "awsSecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "awsSessionToken": "AWS_SESSION_TOKEN",
}
"""Where runed's own AWS keys are, for a registry that names none."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One way to log in."""

    registry: str
    """The name of the entry, for messages."""
    type: str
    region: str = ""
    values: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Login({self.registry!r}, {self.type!r}, {sorted(self.values)}, ***)"


class Logins:
    """Turns logins into credentials."""

    def __init__(self, ecr: Ecr, environ: Mapping[str, str]) -> None:
        self._ecr = ecr
        self._environ = environ

    async def credentials(self, login: Login, image: str) -> Credentials | None:
        """What to show for this image, None for nothing; raises FailedPrecondition naming what is missing."""
        values = {ALIASES.get(key, key): value for key, value in login.values.items()}
        server = rules.host_of(image)
        match login.type:
            case "ecr":
                user, password = await self._ecr.login(self._account(login, values, server), server)
                return rules.basic(user, password, server=server)
            case "dockerconfigjson":
                return rules.dockerconfigjson(_needed(login, values, CONFIG_KEY), image)
            case "token":
                token = _needed(login, values, "token")
                user = values.get("username") or rules.TOKEN_USER
                return rules.basic(user, token, server=server)
            case _:
                if not values:
                    return None
                user = _needed(login, values, "username")
                return rules.basic(user, _needed(login, values, "password"), server=server)

    def _account(self, login: Login, values: Mapping[str, str], host: str) -> Account:
        own = {
            "awsAccessKeyId": values.get("awsAccessKeyId") or values.get("username", ""),
            "awsSecretAccessKey": values.get("awsSecretAccessKey") or values.get("password", ""),
            "awsSessionToken": values.get("awsSessionToken") or values.get("token", ""),
        }
        if not own["awsAccessKeyId"]:
            own = {key: self._environ.get(variable, "") for key, variable in ENVIRONMENT.items()}
        region = login.region or region_of(host) or self._environ.get("AWS_REGION", "")
        if not region:
            raise FailedPrecondition(f"registry {login.registry}: auth.region is required")
        return Account(
            key_id=_needed(login, own, "awsAccessKeyId"),
            secret=_needed(login, own, "awsSecretAccessKey"),
            session=own["awsSessionToken"],
            region=region,
        )


def _needed(login: Login, values: Mapping[str, str], key: str) -> str:
    found = values.get(key, "")
    if not found:
        raise FailedPrecondition(f"registry {login.registry}: {login.type} needs {key!r}")
    return found


def from_files(registry: runefile.Registry) -> dict[str, str]:
    """The values of an entry of the Runefile, read anew each time: a changed file needs no restart."""
    files = {
        "password": registry.password_file,
        "token": registry.token_file,
        CONFIG_KEY: registry.config_file,
    }
    values = {key: _content(registry.name, path) for key, path in files.items() if path}
    return {**values, **({"username": registry.username} if registry.username else {})}


def _content(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(LARGEST).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FailedPrecondition(f"registry {name}: {path} cannot be read: {why}") from error
