"""URLs in every disguise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.hosts import Hosts, hosts_in, normalize

ALLOWED = Hosts(
    ["*.example.com", "example.org:8443", "10.0.0.0/8", "192.0.2.1", "bücher.de", "[2001:db8::1]"]
)


def is_allowed(text: str, name: str = "") -> bool:
    return all(host in ALLOWED for host in hosts_in(text, name=name))


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example.com/x?y#z",
        "HTTPS://API.Example.COM./",
        "https://a.b.example.com",
        "https://user:pw@api.example.com/",
        "https://api.example.com:9999/",
        "https://api%2eexample.com/",
        "https://ａｐｉ.example。com/",
        "https://example.org:8443/",
        "http://10.1.2.3/",
        "http://[::ffff:10.1.2.3]/",
        "http://0xa.1/",
        "http://3221225985/",
        "http://[2001:db8::1]:80/",
        "https://bücher.de",
        "https://xn--bcher-kva.de",
        'see (https://api.example.com), and "https://b.example.com".',
        "curl 'https://api.example.com' -d x",
        "https:\\/\\/api.example.com\\/x",
        "https://a.example.com\nhttps://b.example.com",
        "no url at all, 3:4, a//b, C:\\temp",
        "",
    ],
)
def test_urls_to_what_is_allowed(text: str) -> None:
    assert is_allowed(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/",
        "https://evilexample.com",
        "https://example.com.evil.com",
        "https://api.example.com@evil.com/",
        "https://api.example.com:443@evil.com/",
        "https://evil.com\\@api.example.com/",
        "https://api.example.com\\.evil.com",
        "https://a@evil.com@api.example.com/",
        "https://evil.com%2f@api.example.com/",
        "https://evil.com#@api.example.com",
        "https://evil.com?@api.example.com",
        "https://evil.com/https://api.example.com",
        "https:evil.com",
        "https:/evil.com",
        "https:\\\\evil.com",
        " \x01https:///evil.com",
        "//evil.com/x",
        "\\\\evil.com\\share",
        "go to https://evil.com now",
        "x=https://evil.com&y",
        "https://ｅｖｉｌ.com",
        "https://faß.example.com",
        "https://api.example.com:80:80/",
        "https://api.example.com:99999/",
        "https://api.example.com%00.evil.com/",
        "https://api.example.com'.evil.com/",
        "https://api.example.com\n.evil.com/",
        "https://example.org/",
        "https://example.org:8444/",
        "http://11.0.0.1/",
        "http://0177.0.0.1/",
        "http://010.1.2.3/",
        "http://4294967296/",
        "http://1.2.3.4.5/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://[::1]/",
        "http://[::1%25lo]/",
        "http://[bad]/",
        "http://[2001:db8::1]x/",
        "http://1.2.3.0x1_0/",
        "http://1.2.x.4/",
        "http://0x/",
        "https://" + "é" * 300 + ".example.com",
        "http://a..example.com/",
        "http://" + "a" * 64 + ".example.com/",
        "http:///",
        "jdbc:postgresql://evil.com/db",
        '{"url": "https://evil.com"}',
    ],
)
def test_urls_to_anything_else_however_they_are_dressed(text: str) -> None:
    assert not is_allowed(text)


@pytest.mark.parametrize(
    "name, value",
    [
        ("url", "evil.com"),
        ("target_url", "evil.com/x"),
        ("callbackUrl", "evil.com:80"),
        ("host", "metadata"),
        ("hostname", "evil.com"),
    ],
)
def test_an_argument_that_names_a_host_needs_no_scheme(name: str, value: str) -> None:
    assert not is_allowed(value, name)
    assert is_allowed(value, "text")


@pytest.mark.parametrize(
    "name, value",
    [("url", "users/1"), ("url", "./x"), ("url", "hello there.x"), ("host", ""), ("curl", "evil.com")],
)
def test_words_under_such_a_name_that_are_no_host_are_left_alone(name: str, value: str) -> None:
    assert hosts_in(value, name=name) == []


@pytest.mark.parametrize(
    "entry",
    ["", "a b", "*.*.com", "https://x.y", "x.y:99999", "x.y:a", "10.0.0.1/8/9", "exa*mple.com", "[::g]"],
)
def test_an_entry_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Hosts([entry])


def test_a_star_allows_every_host_that_can_be_read() -> None:
    everything = Hosts(["*"])
    assert all(host in everything for host in hosts_in("https://evil.com http://1.2.3.4"))
    assert not all(host in everything for host in hosts_in("https://a@b@c/"))


@pytest.mark.parametrize(
    "text",
    [
        "http:" * 20_000,
        "a" * 100_000 + "://",
        "https://" + "a." * 50_000,
        "/" * 100_000,
        "a.-+" * 30_000,
        "https:" + "\\" * 100_000,
        "https://x" + "\n" * 50_000 + "y",
        "\t \n" * 50_000,
        "https://" + "ü" * 100_000,
        "http://" + "0x" * 50_000,
        "https://a@" * 20_000,
        "http://" + "9" * 100_000,
        "https://'" * 20_000,
    ],
)
def test_no_text_is_slow(text: str) -> None:
    start = time.perf_counter()
    hosts_in(text, name="url")
    assert time.perf_counter() - start < 0.5


@given(st.text(alphabet="ahtps:/\\@.%#?[]'0x127ß。\n \t", max_size=40), st.sampled_from(["", "url", "host"]))
def test_any_text_can_be_read(text: str, name: str) -> None:
    for host in hosts_in(text, name=name):
        assert bool(host.host) is not bool(host.doubt)


@given(st.text(max_size=20))
def test_writing_a_host_one_way_changes_nothing_the_second_time(name: str) -> None:
    once, doubt = normalize(name)
    if not doubt and ":" not in once:
        assert normalize(once) == (once, "")
