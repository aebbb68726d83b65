"""Identity: what a credential is good for, and when it stops being good."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rune.core.auth
from planes import Plane, caller, plane
from promises import promise
from rune.api.orchestrator import admin, auth
from rune.core.access import Principal
from rune.core.apikeys import ApiKey, Keys
from rune.core.apikeys import mint as mint_key
from rune.core.auth import FAILURES, Identity
from rune.core.call import Caller, Certificate, source
from rune.core.clock import ManualClock
from rune.core.rights import KINDS
from rune.core.store.base import Delete, Put
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM, Token, digest, mint
from rune.errors import PermissionDenied, ResourceExhausted, Unauthenticated


def known(plane: Plane, text: str) -> Principal:
    """Who the token stands for."""
    return plane.identity.authenticate(caller(text))


def secret_half(text: str) -> str:
    """What nobody may print."""
    return text.partition(".")[2]


async def test_a_token_is_two_uuids_and_stands_for_its_subject() -> None:
    async with plane() as p:
        made = await p.token(await p.bootstrap(), "ann")
        public, _, secret = made.secret.partition(".")
        assert (len(public), len(secret), public) == (36, 36, made.id)
        assert known(p, made.secret).name == "ann"
        assert known(p, f"  {made.secret}\n").credential == made.id


@promise("auth.required")
async def test_a_call_without_a_token_is_refused() -> None:
    async with plane() as p:
        with pytest.raises(Unauthenticated, match=r"^missing bearer token$"):
            await p.call(auth.whoami, auth.WhoAmIRequest())


@promise("auth.bad")
@pytest.mark.parametrize("spoil", ["unknown", "wrong secret", "revoked", "expired", "deleted", "no subject"])
async def test_a_token_that_is_not_good_is_refused_in_the_same_words(spoil: str) -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann", ttl=60)
        assert known(p, made.secret).name == "ann"
        text = made.secret
        match spoil:
            case "unknown":
                text = mint(admin.Subject(name="ann"), clock.now())[1]
            case "wrong secret":
                text = f"{made.id}.{secret_half(root)}"
            case "revoked":
                await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
            case "expired":
                clock.advance(60)
            case "deleted":
                await p.store.commit(Delete(p.store.get(Token, SYSTEM, made.id).key))
            case _:
                await p.store.commit(Delete(p.store.get(admin.Subject, SYSTEM, "ann").key))
        with pytest.raises(Unauthenticated, match=r"^invalid bearer token$"):
            known(p, text)


async def test_a_token_does_not_come_to_life_for_a_later_subject_of_the_same_name() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        await p.store.commit(Delete(p.store.get(admin.Subject, SYSTEM, "ann").key))
        await p.token(root, "ann")
        with pytest.raises(Unauthenticated):
            known(p, made.secret)


@promise("auth.denied")
async def test_a_good_token_that_no_rule_covers_is_denied() -> None:
    async with plane() as p:
        made = await p.token(await p.bootstrap(), "ann")
        with pytest.raises(PermissionDenied, match=r"access denied for resource: auth verb: \*"):
            await p.token(made.secret, "bob")


async def test_what_a_principal_may_do_changes_with_the_commit_that_changes_it() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        assert not known(p, made.secret).may("services", "create", "x")
        ask = admin.PolicyAttachToSubjectRequest(policy_name="readwrite", subject_name="ann")
        await p.call(admin.attach_grant, ask, by=root)
        assert known(p, made.secret).may("services", "create", "x")


async def test_the_principal_is_made_once_while_nothing_it_depends_on_changes() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        first = known(p, made.secret)
        await p.token(root, "bob")
        assert known(p, made.secret) is first


@promise("auth.stored")
async def test_of_a_token_only_its_hash_is_stored_and_that_does_not_print() -> None:
    async with plane() as p:
        made = await p.token(await p.bootstrap(), "ann")
        token = p.store.get(Token, SYSTEM, made.id)
        stored = b"".join(msgspec.json.encode(each) for kind in KINDS for each in p.store.list(kind))
        assert secret_half(made.secret).encode() not in stored
        assert token.hash == digest(made.secret)
        assert len(token.hash) == 64
        for shown in (repr(token), str(token), repr([token]), f"{token!r}", repr(token.__rich_repr__())):
            assert token.hash not in shown
            assert made.id in shown


async def test_every_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(left: str, right: str) -> bool:
        compared.append((left, right))
        return left == right

    async with plane() as p:
        made = await p.token(await p.bootstrap(), "ann")
        monkeypatch.setattr(rune.core.auth, "compare_digest", compare)
        stranger = mint(admin.Subject(name="ann"), p.clock.now())[1]
        for text in (made.secret, f"{made.id}.x", stranger, "x", ".", "a.b.c", "x" * 10_000):
            compared.clear()
            try:
                known(p, text)
            except Unauthenticated:
                assert text != made.secret
            ((left, right),) = compared
            assert (len(left), len(right)) == (64, 64)


async def test_an_unknown_token_is_as_far_from_its_dummy_as_can_be() -> None:
    async with plane() as p:
        for text in ("", " ", ".", "\0"):
            with pytest.raises(Unauthenticated):
                known(p, text)


@given(st.one_of(st.text(max_size=400), st.binary(max_size=300).map(lambda b: b.decode("latin-1"))))
async def test_no_authorization_header_gets_anything_but_a_refusal(header: str) -> None:
    async with plane() as p:
        await p.bootstrap()
        for text in (header, f"{header}.{header}", f"\ud800{header}"):
            with pytest.raises(Unauthenticated):
                known(p, text)


async def test_failures_of_one_address_are_slowed_and_say_for_how_long() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        bad = caller("nonsense", "192.0.2.7")
        for _ in range(FAILURES.full):
            with pytest.raises(Unauthenticated):
                p.identity.authenticate(bad)
        with pytest.raises(ResourceExhausted) as failure:
            p.identity.authenticate(bad)
        assert 0 < failure.value.retry_after <= 60
        with pytest.raises(Unauthenticated):
            p.identity.authenticate(caller("nonsense", "192.0.2.8"))
        clock.advance(failure.value.retry_after)
        with pytest.raises(Unauthenticated):
            p.identity.authenticate(bad)


async def test_a_good_token_is_heard_even_from_an_address_that_guesses() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        for _ in range(FAILURES.full + 5):
            with pytest.raises((Unauthenticated, ResourceExhausted)):
                p.identity.authenticate(caller("nonsense"))
        assert known(p, root).name == "root"


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("unix", "unix", True),
        ("", "192.0.2.1", False),
    ],
)
def test_addresses_of_one_host_are_counted_together(one: str, other: str, same: bool) -> None:
    assert (source(one) == source(other)) is same


async def test_the_table_of_addresses_is_bounded() -> None:
    async with MemoryStore(KINDS) as store:
        identity = Identity(store, ManualClock())
        for number in range(10_050):
            with pytest.raises(Unauthenticated):
                identity.authenticate(caller("x", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
        assert len(identity.failures) == 10_000


async def test_an_api_key_is_refused_until_something_knows_keys() -> None:
    async with MemoryStore([*KINDS, ApiKey]) as store:
        prefix, hashed, text = mint_key()
        await store.commit(Put(ApiKey(prefix=prefix, name="robot", organization="acme", hash=hashed)))
        stranger = Caller(edge="http", request_id="r", api_key=text)
        with pytest.raises(Unauthenticated, match=r"^Invalid or missing API key$"):
            Identity(store, ManualClock()).authenticate(stranger)
        identity = Identity(store, ManualClock(), keys=Keys(store, ManualClock()))
        assert identity.authenticate(stranger).organization == "acme"


async def test_the_last_use_is_remembered_without_a_write() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        made = await p.token(await p.bootstrap(), "ann")
        token = p.store.get(Token, SYSTEM, made.id)
        assert p.identity.last_used(token) is None
        revision = p.store.revision
        clock.advance(5)
        known(p, made.secret)
        assert p.identity.last_used(token) == clock.now()
        assert p.store.revision == revision


async def test_guesses_that_come_too_often_are_in_the_audit_log_like_the_others() -> None:
    async with plane() as p:
        for _ in range(FAILURES.full + 3):
            with pytest.raises((Unauthenticated, ResourceExhausted)):
                await p.call(admin.list_users, admin.UserListRequest(), by="nonsense")
        outcomes = [type(outcome) for _, _, outcome in p.heard.records]
        assert outcomes == [Unauthenticated] * FAILURES.full + [ResourceExhausted] * 3


async def test_keys_and_certificates_are_slowed_down_like_tokens() -> None:
    async with MemoryStore(KINDS) as store:
        identity = Identity(store, ManualClock())
        nobody = Certificate(subject="nobody", fingerprint="0", expires_at=ManualClock().now())
        callers = (
            Caller(edge="http", request_id="r", address="192.0.2.7", api_key="x"),
            Caller(edge="grpc", request_id="r", address="192.0.2.7", certificate=nobody),
        )
        for number in range(FAILURES.full):
            with pytest.raises(Unauthenticated):
                identity.authenticate(callers[number % 2])
        for each in (*callers, caller("x", "192.0.2.7")):
            with pytest.raises(ResourceExhausted, match="too many invalid credentials"):
                identity.authenticate(each)
