"""ECR: keys of an account are traded for a password, which is kept until shortly before it ends."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from controlplane import Answer, Standin, control_plane
from rune.core.clock import ManualClock
from rune.errors import FailedPrecondition, Unavailable
from rune.orchestrator.ecr import Account, Ecr, region_of, signed, signing_key

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ACCOUNT = Account(key_id="AKIDEXAMPLE", secret="hunter2-secret", region="eu-west-1")


def token(clock: ManualClock, password: str, hours: float = 12) -> Answer:
    until = (clock.now() + timedelta(hours=hours)).timestamp()
    text = base64.b64encode(f"AWS:{password}".encode()).decode()
    body = {"authorizationData": [{"authorizationToken": text, "expiresAt": until}]}
    return Answer(200, json.dumps(body).encode())


def ecr(standin: Standin, clock: ManualClock) -> Ecr:
    return Ecr({"AWS_ENDPOINT_URL_ECR": standin.url}, clock=clock)


def test_the_signing_key_is_that_of_the_published_example() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    key = signing_key(secret, ("20120215", "us-east-1", "iam"))
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_a_signature_names_what_it_covers_and_never_the_secret() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    headers = signed(ACCOUNT, "https://api.ecr.eu-west-1.amazonaws.com/", b"{}", now=now)
    assert headers["x-amz-date"] == "20260102T030405Z"
    assert "AKIDEXAMPLE/20260102/eu-west-1/ecr/aws4_request" in headers["authorization"]
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-target" in headers["authorization"]
    assert ACCOUNT.secret not in str(headers)
    assert ACCOUNT.secret not in repr(ACCOUNT)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (HOST, "eu-west-1"),
        (f"{HOST}.cn", "eu-west-1"),
        ("registry.example.com", ""),
        (f"{HOST}.evil.com", ""),
    ],
)
def test_the_host_says_the_region(host: str, region: str) -> None:
    assert region_of(host) == region


async def test_a_password_is_asked_for_once_while_it_is_good() -> None:
    clock = ManualClock()
    with control_plane() as aws:
        aws.on_events = lambda _: token(clock, "first")
        asking = ecr(aws, clock)
        assert await asking.login(ACCOUNT, HOST) == ("AWS", "first")
        aws.on_events = lambda _: token(clock, "second")
        assert await asking.login(ACCOUNT, HOST) == ("AWS", "first")
        clock.advance(12 * 3600 - 299)
        assert await asking.login(ACCOUNT, HOST) == ("AWS", "second")
    assert len(aws.asked) == 2
    headers = {key.lower(): value for key, value in aws.asked[0].headers.items()}
    assert headers["x-amz-target"].endswith("GetAuthorizationToken")


@pytest.mark.parametrize(
    ("answer", "failure", "why"),
    [
        (
            Answer(400, b"{}", {"x-amzn-ErrorType": "UnrecognizedClientException:"}),
            FailedPrecondition,
            "ECR refuses the keys: 400 UnrecognizedClientException",
        ),
        (Answer(200, b"hello"), Unavailable, "is not understood"),
        (Answer(200, b'{"authorizationData": []}'), Unavailable, "is not understood"),
    ],
)
async def test_what_goes_wrong_is_said(answer: Answer, failure: type[Exception], why: str) -> None:
    with control_plane() as aws:
        aws.on_events = lambda _: answer
        with pytest.raises(failure, match=why):
            await ecr(aws, ManualClock()).login(ACCOUNT, HOST)


async def test_an_endpoint_out_of_reach_is_unavailable() -> None:
    with control_plane() as aws:
        url = aws.url
    with pytest.raises(Unavailable, match="ECR cannot be reached at"):
        await Ecr({"AWS_ENDPOINT_URL_ECR": url}, clock=ManualClock()).login(ACCOUNT, HOST)
