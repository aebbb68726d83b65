"""Secrets and personal data: checksums decide, placeholders are none, and redaction leaves nothing behind."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
import string
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.scanners import pii, secrets
from rune.policy.scanners.finding import Finding
from rune.policy.scanners.patterns import PatternScanner
from rune.policy.scanners.pii import luhn, redact

SCANNER = PatternScanner()
CHANCE = random.Random(11)  # noqa: S311 - repeatable, not secret
ALNUM = string.ascii_letters + string.digits


def categories(text: str) -> set[str | None]:
    return {f.category for f in SCANNER.scan(text, direction="output") if f.category}


def token(length: int, alphabet: str = ALNUM) -> str:
    return "".join(CHANCE.choice(alphabet) for _ in range(length))


def test_a_github_token_with_a_right_checksum_is_surer_than_one_without() -> None:
    body = token(30)
    right = "ghp_" + body + secrets.base62(zlib.crc32(body.encode())).rjust(6, "0")
    assert secrets.github(right, "", "") == 1.0
    assert secrets.github(right[:-1] + ("a" if right[-1] != "a" else "b"), "", "") < 1.0


@pytest.mark.parametrize(
    ("make", "category"),
    [
        (lambda: "AKIA" + token(16, string.ascii_uppercase + "234567"), "aws_access_key_id"),
        (lambda: "ghp_" + token(36), "github_token"),
        (lambda: "glpat-" + token(20), "gitlab_token"),
        (lambda: "AIza" + token(35), "gcp_api_key"),
        (lambda: "sk_" + "live_" + token(24), "stripe_key"),
        (lambda: "npm_" + token(36), "npm_token"),
        (lambda: "SG." + token(22) + "." + token(43), "sendgrid_key"),
        (lambda: "sk-ant-" + "api03-" + token(90), "anthropic_key"),
        (lambda: "sk-proj-" + token(60), "openai_key"),
        (lambda: f"postgres://app:{token(14)}@db.example.net/app", "connection_string"),
        (lambda: f'api_key = "{token(32)}"', "api_key"),
        (lambda: f"DB_PASSWORD={token(8)}#{CHANCE.randint(10, 99)}aZ", "password"),
    ],
)
def test_random_secrets_of_a_kind_are_found(make: Callable[[], str], category: str) -> None:
    texts = [make() for _ in range(60)]
    found = sum(category in categories(f"config: {text} # keep") for text in texts)
    assert found >= 58


@pytest.mark.parametrize(
    "text",
    [
        "AWS key AKIAIOSFODNN7EXAMPLE",
        "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "api_key=your-key-here",
        "password: ${DB_PASSWORD}",
        "token = os.environ['TOKEN']",
        "Authorization: Bearer <token>",
        "password=********",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 3f9a1c7b2e8d4065a9c3e1f7b8d20456deadbee1",
        "integrity sha512-q8Zt1mW0cVx7RrT5Ky2nBd9LsEh3Gf6UaPo4JwXy8Zt1mW0cVx7RrT5Ky2nBd9Ls==",
        "uuid 7d3f0c1e-9a2b-4c5d-8e6f-1a2b3c4d5e6f",
        "https://example.com/a/very/long/path/with-many-parts/and_underscores/index.html",
        "the secret of good bread is time",
        "class sk-fading-circle-and-more-things",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "password: string (required)",
        "secretary: Jane Porter",
        "keyboard: us-international",
        "next_token = parser.next_token()",
        "if token == expected_token_value:",
    ],
)
def test_placeholders_hashes_and_code_are_no_secrets(text: str) -> None:
    assert not [f for f in SCANNER.scan(text, direction="output") if f.type == "secret_exposure"]


@pytest.mark.parametrize(
    "text",
    [
        "order 4155552671 shipped",
        "version 10.4.2.1",
        "on 2026-03-01 at 10:11:12",
        "build 20260301.4",
        "ISBN 978-3-16-148410-0",
        "id 4539578763621487",
        "epoch 1772360000",
        "a ratio of 3.14159265",
        "localhost 127.0.0.1:8080",
        "see 10.0.0.4",
        "see 192.168.1.100",
        "rows 1,234,567,890",
        "logo@2x.png",
        "@decorator",
        "range 100-200-300",
        "pages 1200-1450",
        "2 + 2 = 4",
        "RFC 2119",
        "x = 0.123456789",
        "ticket 123-45-678",
    ],
)
def test_ordinary_numbers_are_no_personal_data(text: str) -> None:
    assert categories(text) == set()


def test_redaction_names_the_kind_and_leaves_the_rest() -> None:
    text = "SSN 536-22-8841, card 4539 5787 6362 1486, mail a.b@example.org."
    assert (
        redact(text, SCANNER.scan(text, direction="output")) == "SSN [SSN], card [CREDIT_CARD], mail [EMAIL]."
    )


def test_redaction_of_overlapping_findings_marks_the_place_once() -> None:
    def at(start: int, end: int, category: str) -> Finding:
        return Finding(
            type="pii_exposure",
            rule="r",
            severity="low",
            confidence=1,
            start=start,
            end=end,
            explanation="",
            category=category,
        )

    assert redact("0123456789", [at(2, 6, "email"), at(4, 8, "ssn")]) == "01[EMAIL]89"


def test_past_the_limit_the_rest_of_the_text_is_redacted_whole() -> None:
    text = "".join(f"user{n}@example.org " for n in range(3_000))
    assert "@" not in redact(text, SCANNER.scan(text, direction="output"))


@given(st.integers(min_value=10**14, max_value=10**15 - 1))
def test_exactly_one_check_digit_passes_luhn(number: int) -> None:
    assert sum(luhn(f"{number}{digit}") for digit in range(10)) == 1


@given(st.text(max_size=40), st.text(max_size=48), st.text(max_size=24))
def test_no_validator_fails_on_any_text(value: str, before: str, after: str) -> None:
    for name, check in secrets.VALIDATORS.items():
        if name != "jwt" or value.count("."):
            assert 0 <= check(value, before, after) <= 1
    for name in ("email", "phone", "ip_address", "passport", "iban"):
        assert 0 <= pii.VALIDATORS[name](value, before, after) <= 1
