"""Pins: what was seen first is trusted, what changed waits, and nobody else reads or breaks the file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from rune.errors import FailedPrecondition, InvalidArgument, NotFound
from rune.toolbox import pins
from rune.toolbox.definitions import fingerprint
from rune.toolbox.judge import Suspicion

NOW = "2026-01-01T00:00:00+00:00"
OLD = {"name": "read", "description": "Reads."}
NEW = {"name": "read", "description": "Reads more."}
POISON = {"read": Suspicion("poisoning", "a-rule", "it gives orders")}


def made(folder: Path, *upstream: str, name: str = "files") -> pins.Pins:
    """The pins of a server."""
    return pins.Pins(folder, name, upstream or ("server",), now=lambda: NOW)


def trusted(mine: pins.Pins, *definitions: Any, judged: Any = None) -> bool:
    """The last look was without suspicion."""
    return mine.look(definitions, judged or {})["read"].suspicion is None


def test_the_order_of_keys_changes_no_fingerprint_and_every_text_does() -> None:
    assert fingerprint({"name": "a", "title": "b"}) == fingerprint({"title": "b", "name": "a"})
    assert fingerprint({"name": "a", "_meta": {"x": 1}, "icons": []}) == fingerprint({"name": "a"})
    parts: list[dict[str, Any]] = [
        {"title": "t"},
        {"description": "d"},
        {"inputSchema": {}},
        {"outputSchema": {}},
        {"annotations": {}},
    ]
    assert len({fingerprint({"name": "a", **part}) for part in parts}) == len(parts)


def test_what_is_seen_first_is_trusted_and_a_change_waits_until_it_is_accepted(tmp_path: Path) -> None:
    mine = made(tmp_path)
    assert trusted(mine, OLD)
    assert trusted(mine, OLD)
    first = mine.look([NEW], {})["read"]
    assert (first.suspicion is not None, first.is_news) == (True, True)
    assert not mine.look([NEW], {})["read"].is_news
    assert list(mine.waiting()) == ["read"]
    assert mine.accept() == ["read"]
    assert trusted(mine, NEW)
    assert not trusted(mine, OLD)


def test_a_tool_that_becomes_what_it_was_waits_no_more(tmp_path: Path) -> None:
    mine = made(tmp_path)
    assert trusted(mine, OLD)
    assert not trusted(mine, NEW)
    assert trusted(mine, OLD)
    assert mine.waiting() == {}


def test_a_suspicious_tool_is_never_trusted_by_itself_but_can_be_accepted(tmp_path: Path) -> None:
    mine = made(tmp_path)
    assert not trusted(mine, OLD, judged=POISON)
    assert mine.waiting() == {"read": "it gives orders"}
    mine.accept(["read"])
    assert trusted(mine, OLD, judged=POISON)
    assert not trusted(mine, NEW, judged=POISON)


def test_a_tool_that_rules_learn_to_suspect_waits_though_it_did_not_change(tmp_path: Path) -> None:
    mine = made(tmp_path)
    assert trusted(mine, OLD)
    assert not trusted(mine, OLD, judged=POISON)


def test_servers_that_are_started_in_other_ways_share_no_pins(tmp_path: Path) -> None:
    assert trusted(made(tmp_path, "npx", "one"), OLD)
    assert trusted(made(tmp_path, "npx", "two"), NEW)
    assert len(pins.servers(tmp_path)) == 2
    with pytest.raises(InvalidArgument, match="name of several servers"):
        pins.find(tmp_path, "files")


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    mine = made(tmp_path / "pins")
    trusted(mine, OLD)
    assert mine.path.stat().st_mode & 0o777 == 0o600
    assert mine.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_was_spoiled_trusts_nothing(tmp_path: Path) -> None:
    mine = made(tmp_path)
    trusted(mine, OLD)
    mine.path.write_text("{", encoding="utf-8")
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        mine.look([OLD], {})
    with pytest.raises(FailedPrecondition):
        mine.waiting()


def test_many_who_look_at_once_lose_nothing(tmp_path: Path) -> None:
    tools = [{"name": f"tool{number}"} for number in range(8)]
    threads = [threading.Thread(target=made(tmp_path).look, args=([tool], {})) for tool in tools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(made(tmp_path).server().tools) == {tool["name"] for tool in tools}


def test_a_server_has_so_many_tools_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "MOST_TOOLS", 2)
    found = made(tmp_path).look([{"name": name} for name in "abc"], {})
    assert [verdict.suspicion is None for verdict in found.values()] == [True, True, False]


def test_accepting_what_does_not_wait_is_an_error_that_says_what_does(tmp_path: Path) -> None:
    mine = made(tmp_path)
    trusted(mine, OLD)
    with pytest.raises(NotFound, match="nothing does"):
        mine.accept(["read"])
    with pytest.raises(NotFound, match="no pins of a server 'other'"):
        pins.find(tmp_path, "other")
    pins.forget(pins.find(tmp_path, "files"))
    assert pins.servers(tmp_path) == []


def test_the_tools_of_other_servers_are_known_by_name(tmp_path: Path) -> None:
    trusted(made(tmp_path, name="mail"), OLD)
    (tmp_path / "broken.json").write_text("no", encoding="utf-8")
    assert made(tmp_path).others() == {"mail": {"read"}}
