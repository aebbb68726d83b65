"""Names and origins: what a browser may be made to send is refused where it could do harm."""

from __future__ import annotations

import pytest

from rune.errors import PermissionDenied
from rune.server.origins import Origins


@pytest.mark.parametrize(
    "listens, allowed, headers, good",
    [
        ("127.0.0.1", "", {"host": "127.0.0.1:7861"}, True),
        ("127.0.0.1", "", {"host": "localhost:7861"}, True),
        ("127.0.0.1", "", {"host": "[::1]:7861"}, True),
        ("127.0.0.1", "", {}, True),
        ("127.0.0.1", "", {"host": "evil.example:7861"}, False),
        ("127.0.0.1", "", {"host": "127.0.0.1.evil.example"}, False),
        ("127.0.0.1", "", {"host": "10.0.0.1"}, False),
        ("::1", "", {"host": "evil.example"}, False),
        ("localhost", "", {"host": "evil.example"}, False),
        ("127.0.0.1", "a, Rune.Example.com", {"host": "rune.example.com"}, True),
        ("127.0.0.1", "rune.example.com", {"host": "rune.example.com.evil.example"}, False),
        ("0.0.0.0", "", {"host": "rune.example.com"}, True),  # noqa: S104 - a listener on every interface is what is judged
        ("", "", {"host": "rune.example.com"}, True),
        ("", "", {"host": "a:1", "origin": "https://a:1"}, True),
        ("", "", {"host": "a:1", "origin": "https://b:1"}, False),
        ("", "", {"host": "a:1", "origin": "null"}, False),
        ("", "", {"origin": "https://"}, False),
        ("", "pages.example", {"host": "a:1", "origin": "https://pages.example"}, True),
    ],
)
def test_who_may_call(listens: str, allowed: str, headers: dict[str, str], *, good: bool) -> None:
    origins = Origins(listens, allowed)
    if good:
        origins.check(headers)
    else:
        with pytest.raises(PermissionDenied, match=r"server\.allowed-hosts"):
            origins.check(headers)
