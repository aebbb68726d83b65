"""The book: every page of it has a name of its own, and what changes rings the pages that show it."""

from __future__ import annotations

import re

import pytest

from rune.dashboard.book import PARTS, whole
from rune.dashboard.notices import Bell
from rune.dashboard.shell import POLICY, files


def test_a_page_is_found_by_its_path_whatever_it_asks() -> None:
    book = whole()
    assert book.knows("/")
    assert book.knows("/agents/a%2Fb?x=1")
    assert book.watches("/services?cursor=abc") == {"service", "instance"}
    assert not book.knows("/v1/services")
    assert not book.knows("/agents/a/b/c")


def test_no_page_stands_where_the_api_is() -> None:
    taken = re.compile(r"/(v1|docs|openapi|metrics|healthz|health|login|logout|enter|ui)\b")
    assert not [page.path for part in PARTS for page in part.PAGES if taken.match(page.path)]


@pytest.mark.parametrize(
    ("kinds", "rings"), [({"service"}, True), ({"secret"}, False), ({"token"}, True), ({"*"}, True)]
)
def test_a_bell_rings_for_what_its_page_shows(kinds: set[str], rings: bool) -> None:
    bell = Bell()
    bell.watches = frozenset({"service"})
    bell.ring(frozenset(kinds))
    assert bell.rung.is_set() is rings


def test_the_policy_allows_no_inline_script_and_no_eval() -> None:
    assert "unsafe" not in POLICY
    scripts = [data.decode() for name, (data, _, _) in files().items() if name.endswith(".js")]
    assert len(scripts) >= 5
    for banned in ("eval(", "new Function", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert not any(banned in script for script in scripts)
