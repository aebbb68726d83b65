"""The server's log: one event a line, no credential in it, no value without an end."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.core.logs import LONGEST, configure
from rune.core.redact import SHORTEST, is_secret_name, redact

# Not a fresh one: tests are named by it, the same in every run.
TEXT = "0c1f4a9e-5b1d-4c55-9f4e-3c1d2b7a6e10.7d9f0b1c-22aa-4f0e-8d5b-6a1c3e5f7a90"
HALF = TEXT.partition(".")[2]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is written at `info`; the root logger is afterwards as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure(stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """The events."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields(log: io.StringIO) -> None:
    logging.getLogger("rune.x").info("instance\nstarted", extra={"instance": "api-1", "restarts": 3})
    (event,) = lines(log)
    assert event["event"] == "instance\nstarted"
    assert (event["level"], event["logger"], event["instance"], event["restarts"]) == (
        "info",
        "rune.x",
        "api-1",
        3,
    )
    assert event["timestamp"].endswith("Z")


def test_what_is_below_the_level_is_not_written(log: io.StringIO) -> None:
    logging.getLogger("rune.x").debug("quiet")
    assert log.getvalue() == ""


def test_no_credential_gets_into_the_log(log: io.StringIO) -> None:
    logger = logging.getLogger("rune.x")
    logger.info("token %s came", TEXT)
    logger.info("x", extra={"headers": {"authorization": f"Bearer {TEXT}", "list": [TEXT, {"a": TEXT}]}})
    logger.info("x", extra={"password": "hunter2", "value": {"api_key": "hunter2"}})
    try:
        int(f"bad token {TEXT}")
    except ValueError:
        logger.exception("failed")
    written = log.getvalue()
    assert HALF not in written
    assert "hunter2" not in written
    assert TEXT.partition(".")[0] in written
    assert "Traceback" in lines(log)[-1]["exception"]


def test_a_value_without_an_end_is_cut_off(log: io.StringIO) -> None:
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep]
    extra = {"long": "x" * 10**6, "many": list(range(10**4)), "deep": deep, "odd": object()}
    logging.getLogger("rune.x").info("x", extra=extra)
    (event,) = lines(log)
    assert len(event["long"]) == LONGEST
    assert len(log.getvalue()) < 3 * LONGEST


def test_people_may_have_it_in_plain_text() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    try:
        configure(stream, level="debug", format="text")
        configure(stream, level="debug", format="text")
        logging.getLogger("rune.x").debug("hello", extra={"who": "ann"})
    finally:
        root.handlers[:], root.level = handlers, level
    assert stream.getvalue().count("hello") == 1
    assert "who=ann" in stream.getvalue()


@pytest.mark.parametrize(
    "text, secret",
    [
        (TEXT, HALF),
        (f"authorization: Bearer {TEXT}", HALF),
        ("Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l", "YWxhZGRpbjpvcGVuc2VzYW1l"),
        ('{"password": "hunter2!"}', "hunter2!"),
        ("DB_PASSWORD=hunter2", "hunter2"),
        ("x-rune-key: abcd1234", "abcd1234"),
        ("api_key='abcd1234'", "abcd1234"),
        ("sk-proj-abcdefghijklmnop", "abcdefghijklmnop"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
    ],
)
def test_what_looks_like_a_credential_is_blotted_out(text: str, secret: str) -> None:
    assert secret not in redact(f"before {text} after")
    assert redact(f"before {text} after").startswith("before ")


@pytest.mark.parametrize(
    "text",
    [
        "secret db is used by service api",
        "token 4f1c revoked",
        "missing bearer token",
        "invalid bearer token",
        "key default/api",
    ],
)
def test_plain_words_are_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "x",
        "secret",
        "secret ",
        "bearer ",
        "api_key",
        "-----BEGIN ",
        "sk-",
        "0",
        "0123abcd-",
        "password=",
        " ",
    ],
)
@pytest.mark.timeout(2)
def test_no_text_keeps_the_log_busy(part: str) -> None:
    redact(part * (200_000 // len(part)))


@given(st.text(max_size=300))
def test_blotting_twice_is_as_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "name", ["password", "token", "db_password", "Authorization", "api_key", "token_secret", "apiKey"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["token_id", "secret_name", "key", "tokens", "instance", "credential_id"])
def test_names_of_other_things_are_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize("text", ["secret=abcd", "passwd:abcd", "APIKEY=abcd"])
def test_the_shortest_secret_is_blotted_out_too(text: str) -> None:
    assert redact(text) == f"{text[:-4]}***"
    assert len(text) == SHORTEST
