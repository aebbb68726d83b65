"""Log-in at a provider: what it says counts when it holds, and every lie is found out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from oidc import CLIENT, SECRET, Liar, Lie, moment, provider
from planes import QUICK, Plane, caller, plane, policies
from promises import promise
from rune.api.orchestrator import admin, sessions, users
from rune.core.clock import SystemClock
from rune.core.federation import Federation
from rune.core.logins import Ground, Logins
from rune.core.passwords import Hashes
from rune.core.runefile import Oidc, OidcGroup
from rune.core.sessions import Session
from rune.core.tokens import SYSTEM
from rune.errors import FailedPrecondition, InvalidArgument, PermissionDenied, RuneError, Unauthenticated

BACK = "http://localhost:7861/login/oidc/done"


@asynccontextmanager
async def world(folder: Path, **more: Any) -> AsyncGenerator[tuple[Liar, Plane, Federation]]:
    """A provider, a plane, and what stands between them."""
    secret = folder / "secret"
    secret.touch(0o600)
    secret.write_text(f"{SECRET}\n", encoding="utf-8")
    async with provider() as liar, plane(SystemClock()) as p:
        given: dict[str, Any] = {"default_policies": "readonly", **more}
        chosen = Oidc(issuer=liar.url, client_id=CLIENT, client_secret_file=str(secret), **given)
        ground = Ground(
            store=p.store, clock=p.clock, identity=p.identity, rights=p.rights, hashes=Hashes(QUICK)
        )
        yield liar, p, Federation(chosen, Logins(ground), p.rights, clock=p.clock)


async def enter(liar: Liar, found: Federation) -> Session:
    """Go to the provider and come back."""
    way = await found.begin(BACK)
    said = _query(liar.authorize(way.url))
    return (await found.finish(way.ticket, said["state"], said["code"], caller=caller())).session


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@promise("oidc.login")
async def test_whoever_the_provider_knows_becomes_a_user_with_what_their_groups_give(tmp_path: Path) -> None:
    groups = (OidcGroup(group="operators", policies=("readwrite",)),)
    async with world(tmp_path, groups=groups) as (liar, p, found):
        session = await enter(liar, found)
        assert (session.subject, session.way) == ("ann-smith", "oidc")
        assert policies(p, "ann-smith") == ["readonly"]
        assert p.store.get(admin.Subject, SYSTEM, "ann-smith").email == "ann@example.com"
        liar.claims["groups"] = ["operators", "others"]
        again = await enter(liar, found)
        assert again.subject_id == session.subject_id
        assert policies(p, "ann-smith") == ["readwrite"]


def lied(name: str, value: Any) -> Lie:
    """A lie about one claim."""

    def lie(said: dict[str, Any]) -> None:
        said[name] = value

    return lie


def silent(name: str) -> Lie:
    """A word without a claim."""

    def lie(said: dict[str, Any]) -> None:
        del said[name]

    return lie


@promise("oidc.lies")
@pytest.mark.parametrize(
    "lie",
    [
        lied("aud", "another"),
        lied("aud", [CLIENT, "another"]),
        lied("azp", "another"),
        lied("iss", "https://elsewhere.example"),
        lied("nonce", "another"),
        silent("nonce"),
        silent("sub"),
        silent("exp"),
        lied("exp", moment() - 120),
        lied("iat", moment() + 3600),
    ],
    ids=["audience", "two audiences", "other party", "issuer", "nonce", "no nonce", "nobody", "for ever",
         "expired", "future"],
)  # fmt: skip
async def test_a_word_that_does_not_hold_lets_nobody_in(tmp_path: Path, lie: Lie) -> None:
    async with world(tmp_path) as (liar, p, found):
        liar.lie = lie
        with pytest.raises(Unauthenticated, match="does not hold"):
            await enter(liar, found)
        assert not p.store.list(Session, SYSTEM)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_a_word_that_anybody_could_sign_lets_nobody_in(tmp_path: Path, algorithm: str) -> None:
    async with world(tmp_path) as (liar, _, found):
        liar.algorithm = algorithm
        with pytest.raises(Unauthenticated, match="does not hold"):
            await enter(liar, found)


async def test_a_clock_that_is_a_little_wrong_does_no_harm(tmp_path: Path) -> None:
    async with world(tmp_path) as (liar, _, found):
        liar.lie = lambda said: said.update(iat=moment() + 30, exp=moment() - 30)
        assert (await enter(liar, found)).subject == "ann-smith"


async def test_a_word_of_an_unknown_key_lets_nobody_in_and_a_new_key_is_found(tmp_path: Path) -> None:
    async with world(tmp_path) as (liar, _, found):
        await enter(liar, found)
        liar.kid = "two"
        with pytest.raises(Unauthenticated, match="nobody knows the key"):
            await enter(liar, found)
        reads = liar.asked.count("/keys")
        with pytest.raises(Unauthenticated):
            await enter(liar, found)
        assert liar.asked.count("/keys") == reads
        liar.published = ["two"]
        found._provider._known = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as if 10 s were over
        assert (await enter(liar, found)).subject == "ann-smith"


async def test_a_word_of_another_key_of_the_same_name_lets_nobody_in(tmp_path: Path) -> None:
    async with world(tmp_path) as (liar, _, found):
        await enter(liar, found)
        liar.keys["one"] = "another"
        with pytest.raises(Unauthenticated, match="does not hold"):
            await enter(liar, found)


@promise("oidc.once")
async def test_a_log_in_is_finished_once_and_by_whoever_began_it(tmp_path: Path) -> None:

    async with world(tmp_path) as (liar, _, found):
        way, other = await found.begin(BACK), await found.begin(BACK)
        said = _query(liar.authorize(way.url))
        for ticket in (other.ticket, "", "forged"):
            with pytest.raises(Unauthenticated, match="begin again"):
                await found.finish(ticket, said["state"], said["code"], caller=caller())
        with pytest.raises(Unauthenticated, match="not begun in this browser"):
            await found.finish(way.ticket, "another", said["code"], caller=caller())
        await found.finish(way.ticket, said["state"], said["code"], caller=caller())
        with pytest.raises(Unauthenticated, match="finished already"):
            await found.finish(way.ticket, said["state"], said["code"], caller=caller())


async def test_who_takes_somebodys_user_name_at_the_provider_does_not_become_them(tmp_path: Path) -> None:
    async with world(tmp_path) as (liar, p, found):
        first = await enter(liar, found)
        liar.claims["sub"] = "person-2"
        with pytest.raises(PermissionDenied, match="is somebody else"):
            await enter(liar, found)
        liar.claims.update(sub="person-1", preferred_username="renamed")
        assert (await enter(liar, found)).subject_id == first.subject_id
        liar.claims.update(sub="person-3", preferred_username="root")
        root = await p.bootstrap()
        with pytest.raises(PermissionDenied, match="is somebody else"):
            await enter(liar, found)
        await p.call(users.delete, users.UserDeleteRequest(name="ann-smith"), by=root)
        liar.claims.update(sub="person-2", preferred_username="ann.smith")
        assert (await enter(liar, found)).subject_id != first.subject_id


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ann@elsewhere.com"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": "ann@example.com.evil.org"},
        {"email": None},
    ],
    ids=["another", "unverified", "a text", "longer", "none"],
)
async def test_only_verified_addresses_of_the_domains_that_are_allowed_log_in(
    tmp_path: Path, claims: dict[str, Any]
) -> None:
    async with world(tmp_path, allowed_domains="example.com") as (liar, _, found):
        assert (await enter(liar, found)).subject == "ann-smith"
        liar.claims.update(claims)
        with pytest.raises(PermissionDenied, match="allowed-domains"):
            await enter(liar, found)


async def test_who_is_in_none_of_the_groups_does_not_log_in(tmp_path: Path) -> None:
    groups = (OidcGroup(group="operators", policies=("readwrite",)),)
    async with world(tmp_path, groups=groups, default_policies="") as (liar, p, found):
        with pytest.raises(PermissionDenied, match="none of your groups"):
            await enter(liar, found)
        assert not p.store.list(Session, SYSTEM)


async def test_a_provider_that_calls_itself_otherwise_is_not_believed(tmp_path: Path) -> None:
    async with world(tmp_path) as (liar, _, found):
        liar.issuer = "https://elsewhere.example"
        with pytest.raises(FailedPrecondition, match=r"auth\.oidc\.issuer"):
            await found.begin(BACK)


@pytest.mark.parametrize(
    "uri",
    [
        "http://rune.example/login/oidc/done",
        "https://rune.example/",
        f"{BACK}?x=1",
        "javascript:alert(1)",
        "https://[",
        "https://a]b/login/oidc/done",
    ],
)
async def test_browsers_are_sent_back_to_nowhere_else(tmp_path: Path, uri: str) -> None:
    async with world(tmp_path) as (_, _p, found):
        with pytest.raises(InvalidArgument):
            await found.begin(uri)


async def test_a_server_without_a_provider_says_so() -> None:
    async with plane() as p:
        with pytest.raises(RuneError, match=r"auth\.oidc"):
            await p.call(sessions.begin_oidc, sessions.BeginOidcRequest(redirect_uri=BACK))
