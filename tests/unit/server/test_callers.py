"""Who counts as local, and what a connection says of its peer."""

from __future__ import annotations

import pytest

from rune.server.callers import caller, is_loopback, peer_address


@pytest.mark.parametrize(
    "peer, address",
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[2001:db8::7]:5000", "2001:db8::7"),
        ("unix:/run/rune.sock", "unix"),
    ],
)
def test_a_peer_is_told_by_its_address(peer: str, address: str) -> None:
    assert peer_address(peer) == address


@pytest.mark.parametrize(
    "address, local",
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("unix", True),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_elsewhere(address: str, local: bool) -> None:
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    "headers, local",
    [
        ({}, True),
        ({"host": "localhost:7861"}, True),
        ({"host": "[::1]:7861"}, True),
        ({"host": "rune.example"}, False),
        ({"host": "["}, False),
        ({"forwarded": "for=1.2.3.4"}, False),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, True),
        ({"host": "localhost:1", "origin": "http://localhost:2"}, False),
    ],
)
def test_a_call_through_a_proxy_or_a_strange_page_is_not_local(headers: dict[str, str], local: bool) -> None:
    assert caller("http", "1", address="127.0.0.1", headers=headers).is_local is local


@pytest.mark.parametrize(
    "header, bearer",
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")],
)
def test_a_bearer_is_read_whatever_its_case(header: str, bearer: str) -> None:
    assert caller("http", "1", address="", headers={"authorization": header}).bearer == bearer


def test_a_caller_does_not_show_its_credentials() -> None:
    shown = repr(
        caller("http", "1", address="", headers={"authorization": "Bearer s3cret", "x-rune-key": "k3y"})
    )
    assert "s3cret" not in shown
    assert "k3y" not in shown
