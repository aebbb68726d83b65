"""Settings come from a keyword, a config, the environment or the default, in this order."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest

from rune import ShieldConfig
from rune.errors import InvalidArgument
from rune.shield.options import Keywords, resolve

LOCAL = {"RUNE_EVENTS_ENABLED": "false"}
SAMPLES: dict[str, tuple[str, object]] = {
    "api_key": ("rune_test_x", "rune_test_x"),
    "endpoint": ("https://rune.example", "https://rune.example"),
    "on_block": ("log", "log"),
    "fail_mode": ("closed", "closed"),
    "default_agent_id": ("a", "a"),
    "default_agent_tags": ("prod, eu", ("prod", "eu")),
    "local_policies_path": ("/p", "/p"),
    "rules_path": ("/r", "/r"),
    "event_spool_path": ("/s", "/s"),
    "block_threshold": ("0.9", 0.9),
    "flag_threshold": ("0.25", 0.25),
    "l2_block_threshold": ("0.7", 0.7),
    "l2_flag_threshold": ("0.4", 0.4),
    "policy_sync_interval_seconds": ("7", 7.0),
    "event_flush_interval_seconds": ("0.5", 0.5),
    "connection_timeout_seconds": ("3", 3.0),
    "scan_timeout_ms": ("70", 70),
    "event_batch_size": ("5", 5),
    "event_queue_max": ("9", 9),
    "event_spool_max_bytes": ("1000", 1000),
    "events_enabled": ("0", False),
    "l1_enabled": ("false", False),
    "l2_enabled": ("1", True),
    "l3_enabled": ("TRUE", True),
    "l3_base_url": ("http://h/v1", "http://h/v1"),
    "l3_model": ("m", "m"),
    "l3_api_key": ("k", "k"),
    "l3_mode": ("sync", "sync"),
    "l3_timeout_ms": ("9", 9),
    "l3_per_minute": ("4", 4),
    "capture_content": ("true", True),
    "debug": ("1", True),
    "api_key_file": ("/k/key", "/k/key"),
    "approval_timeout_seconds": ("20", 20.0),
    "approval_on_timeout": ("allow", "allow"),
    "approval_waiting_max": ("3", 3),
    "ca_file": ("/k/ca.pem", "/k/ca.pem"),
    "cert_file": ("/k/pass.pem", "/k/pass.pem"),
    "key_file": ("/k/pass-key.pem", "/k/pass-key.pem"),
}


def test_every_field_is_sampled_below() -> None:
    assert set(SAMPLES) == set(ShieldConfig.__struct_fields__)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_field_is_read_from_the_environment(name: str) -> None:
    text, value = SAMPLES[name]
    assert getattr(resolve(None, {}, LOCAL | {f"RUNE_{name.upper()}": text}), name) == value


def test_every_field_is_a_keyword_for_type_checkers() -> None:
    assert set(get_type_hints(Keywords)) == {field.name for field in msgspec.structs.fields(ShieldConfig)}


def test_a_keyword_goes_before_the_config_and_that_before_the_environment() -> None:
    environ = {**LOCAL, "RUNE_EVENT_BATCH_SIZE": "3", "RUNE_ON_BLOCK": "log", "RUNE_SCAN_TIMEOUT_MS": "9"}
    found = resolve(ShieldConfig(on_block="alert", event_batch_size=4), {"event_batch_size": 5}, environ)
    assert (found.event_batch_size, found.on_block, found.scan_timeout_ms) == (5, "alert", 9)


@pytest.mark.parametrize(
    ("name", "value"),
    [("on_block", "explode"), ("scan_timeout_ms", 0), ("scan_timeout_ms", "5"), ("block_threshold", 1.5),
     ("event_batch_size", 1001), ("default_agent_tags", "prod"), ("debug", "yes"), ("event_queue_max", True)],
)  # fmt: skip
def test_a_bad_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=name):
        resolve(None, {name: value}, LOCAL)


def test_a_bad_variable_is_named_as_it_is_written() -> None:
    with pytest.raises(InvalidArgument, match="RUNE_EVENT_QUEUE_MAX"):
        resolve(None, {}, LOCAL | {"RUNE_EVENT_QUEUE_MAX": "many"})


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'on_blok'"):
        resolve(None, {"on_blok": "log"}, LOCAL)


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:7861", "ftp://x", "http://", "http://a b", "http://x:99999", "http://[::1"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArgument, match="endpoint"):
        resolve(None, {"api_key": "k", "endpoint": endpoint}, {})


def test_a_key_with_a_line_break_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidArgument, match="line break") as caught:
        resolve(None, {"api_key": "rune_live_secret\n"}, {})
    assert "secret" not in str(caught.value)


def test_the_key_is_not_in_the_repr() -> None:
    assert "hush" not in repr(ShieldConfig(api_key="hush"))


def test_thresholds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="flag_threshold"):
        resolve(None, {"block_threshold": 0.3}, LOCAL)
