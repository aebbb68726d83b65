"""Paths find what is served there, whatever the table's size."""

from __future__ import annotations

import pytest

from rune.server.routes import Match, Routes


@pytest.fixture
def routes() -> Routes[str]:
    found: Routes[str] = Routes()
    found.add("GET", "/v1/things", "list")
    found.add("GET", "/v1/things/{name}", "get")
    found.add("GET", "/v1/things/special/parts", "special")
    found.add("GET", "/v1/things/{name}/parts", "parts")
    found.add("POST", "/v1/things:all", "all")
    return found


@pytest.mark.parametrize(
    "path, found",
    [
        ("/v1/things", Match({"GET": "list"}, ())),
        ("/v1/things/a", Match({"GET": "get"}, ("a",))),
        ("/v1/things/special", Match({"GET": "get"}, ("special",))),
        ("/v1/things/special/parts", Match({"GET": "special"}, ())),
        ("/v1/things/a%2Fb/parts", Match({"GET": "parts"}, ("a%2Fb",))),
        ("/v1/things:all", Match({"POST": "all"}, ())),
    ],
)
def test_a_path_finds_its_target(routes: Routes[str], path: str, found: Match[str]) -> None:
    assert routes.find(path) == found


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/things/", "/v1/things//parts", "/v2/things", "/v1/things/a/b"]
)
def test_any_other_path_finds_nothing(routes: Routes[str], path: str) -> None:
    assert routes.find(path) is None


def test_one_place_is_not_served_twice(routes: Routes[str]) -> None:
    with pytest.raises(ValueError, match="twice"):
        routes.add("GET", "/v1/things/{id}", "other")
