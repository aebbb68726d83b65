"""What every store answers to find, get and list."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contract.stores.models import Box, Node, at
from promises import promise
from rune.core.store.base import Delete, Key, Put, Store
from rune.errors import NotFound

pytestmark = promise("stores.reads")


def names(boxes: Sequence[Box]) -> list[str]:
    return [f"{box.namespace}/{box.name}" for box in boxes]


async def test_an_empty_store_is_at_revision_zero(store: Store) -> None:
    assert (store.revision, store.oldest) == (0, 0)


async def test_what_was_put_is_found_with_the_revision_that_wrote_it(store: Store) -> None:
    revision = await store.commit(Put(Box(name="a", size=1)))
    assert store.find(Box, "prod", "a") == Box(name="a", size=1, revision=revision)
    assert store.get(Box, "prod", "a") == store.find(Box, "prod", "a")


async def test_a_resource_without_a_namespace_is_found_under_the_empty_one(store: Store) -> None:
    await store.commit(Put(Node(name="n1")))
    assert store.get(Node, "", "n1").name == "n1"


async def test_what_is_not_there_is_none_to_find(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    assert store.find(Box, "prod", "b") is None
    assert store.find(Box, "prod-eu", "a") is None
    assert store.find(Node, "prod", "a") is None


async def test_get_names_kind_and_key_of_what_is_missing(store: Store) -> None:
    with pytest.raises(NotFound, match=r"boxes prod/a does not exist"):
        store.get(Box, "prod", "a")
    with pytest.raises(NotFound, match=r"nodes n1 does not exist"):
        store.get(Node, "", "n1")


async def test_a_list_is_in_the_order_of_keys_whatever_the_order_of_writes(store: Store) -> None:
    for name in ("b", "c", "a", "B", "a-1", "ä"):
        await store.commit(Put(Box(name=name)))
    assert [box.name for box in store.list(Box, "prod")] == ["B", "a", "a-1", "b", "c", "ä"]


@promise("weak-spot.04")
async def test_a_list_of_a_namespace_shows_no_other_that_begins_like_it(store: Store) -> None:
    for namespace in ("prod", "prod-eu", "pro", ""):
        await store.commit(Put(Box(namespace=namespace, name="a")))
    assert names(store.list(Box, "prod")) == ["prod/a"]
    assert names(store.list(Box, "")) == ["/a"]


async def test_a_list_of_all_namespaces_is_in_the_order_of_keys(store: Store) -> None:
    for namespace, name in (("prod-eu", "a"), ("prod", "z"), ("prod", "b"), ("prod/x", "c")):
        await store.commit(Put(Box(namespace=namespace, name=name)))
    assert names(store.list(Box)) == ["prod/b", "prod/z", "prod-eu/a", "prod/x/c"]


async def test_names_near_a_prefix_are_found_in_order_and_no_others(store: Store) -> None:
    for name in ("api-2", "apix", "api-1", "ap", "api-", "b"):
        await store.commit(Put(Box(name=name)))
    await store.commit(Put(Box(namespace="prod-eu", name="api-3")))
    assert [box.name for box in store.near(Box, "prod", "api-")] == ["api-", "api-1", "api-2"]
    assert list(store.near(Box, "prod", "c")) == list(store.near(Box, "none", "api-")) == []


async def test_a_list_of_nothing_is_empty(store: Store) -> None:
    await store.commit(Put(Node(name="n1")))
    assert list(store.list(Box)) == []
    assert list(store.list(Box, "prod")) == []


async def test_a_list_is_a_snapshot(store: Store) -> None:
    revision = await store.commit(Put(Box(name="a")), Put(Box(name="b")))
    before = store.list(Box, "prod")
    await store.commit(Put(at(store.get(Box, "prod", "a"), size=2)), Delete(Key("boxes", "prod", "b")))
    assert list(before) == [Box(name="a", revision=revision), Box(name="b", revision=revision)]
    assert [box.size for box in store.list(Box, "prod")] == [2]


async def test_a_deleted_resource_is_gone_from_every_read(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    await store.commit(Delete(Key("boxes", "prod", "a")))
    assert store.find(Box, "prod", "a") is None
    assert list(store.list(Box)) == []


async def test_a_caller_that_changes_its_value_later_does_not_change_the_store(store: Store) -> None:
    box = Box(name="a", labels={"tier": "web"})
    await store.commit(Put(box))
    box.labels["tier"] = "gone"
    assert store.get(Box, "prod", "a").labels == {"tier": "web"}
