"""YAML with positions, and YAML that means harm."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rune.errors import InvalidArgument
from rune.positions.spots import Spot
from rune.positions.values import STRICT, read

LOADERS = [yaml.SafeLoader, yaml.CSafeLoader]


def refusal(text: str | bytes) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read(text, name="f")
    assert all(v.field.startswith("f:") for v in caught.value.details)
    return caught.value.message


def test_every_value_and_key_has_its_place() -> None:
    found = read("a: 1\nb:\n  - x\n  - {c: ü, d: 2}\n")
    assert found.value == {"a": 1, "b": ["x", {"c": "ü", "d": 2}]}
    assert found.at("b[1].d") == Spot("", 4, 15)
    assert found.key_at("b[1].d") == Spot("", 4, 12)


def test_a_path_that_is_not_there_has_the_place_of_what_is_around_it() -> None:
    found = read("a:\n  b: 1\n")
    assert found.at("a.b.c[3].d") == found.at("a.b")
    assert found.at("nothing") == Spot("", 1, 1)


@pytest.mark.parametrize(
    "word", ["no", "off", "on", "yes", "Y", "010", "1_000", "1:30", "2024-01-01", ".inf", "0x10"]
)
def test_words_that_older_yaml_would_change_stay_words(word: str) -> None:
    assert read(f"a: {word}").value == {"a": word}


@pytest.mark.parametrize(
    "word, value",
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("-3", -3),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
    ],
)
def test_core_words_have_their_types(word: str, value: object) -> None:
    found = read(f"a: {word}").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_quoted_words_are_text() -> None:
    assert read("""{a: "1", b: 'true', c: "~"}""").value == {"a": "1", "b": "true", "c": "~"}


def test_a_key_that_comes_twice_is_refused_with_both_lines() -> None:
    assert "f:3:1: 'a' stands here twice, first in line 1" in refusal("a: 1\nb: 2\na: 3\n")


def test_a_key_with_a_dot_is_not_mistaken_for_a_nested_one() -> None:
    assert read("a.b: 1\na: {b: 2}").value == {"a.b": 1, "a": {"b": 2}}


@pytest.mark.parametrize("key", ["1", "true", "~", "1.5"])
def test_a_key_that_is_no_text_is_refused_with_the_remedy(key: str) -> None:
    assert "is not a string; write" in refusal(f"{key}: x")


def test_several_problems_are_told_at_once_and_in_order() -> None:
    message = refusal("1: a\nb: 1\nb: 2\n<<: {c: 1}\n")
    assert [line for line in ("f:1:", "f:3:", "f:4:") if line in message] == [
        "f:1:",
        "f:3:",
        "f:4:",
    ]


def test_the_caret_stands_under_the_spot() -> None:
    lines = refusal("good: 1\n  bad: [\n").splitlines()
    shown, caret = lines[-2], lines[-1]
    assert shown.endswith("bad: [")
    assert caret.index("^") == shown.index("bad") + len("bad")


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in refusal('a: "x\x1b[31m"\na: 1')
    assert "\x1b" not in refusal("a: 1\na: \t]")


@pytest.mark.parametrize("text", ["a: !!python/name:os.system x", "!!map {}", "a: !foo [1]", "- !!str 1"])
def test_tags_are_refused(text: str) -> None:
    assert "tags are not taken: remove " in refusal(text)


def test_a_second_document_is_refused_with_the_reason() -> None:
    assert "f:2:1: a second document starts here" in refusal("a: 1\n---\nb: 2\n")


def test_an_alias_bomb_costs_nothing() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "aliases" in refusal("\n".join(lines))


def test_aliases_are_counted() -> None:
    assert "aliases" in refusal("a: &a 1\nb: [" + ",".join(["*a"] * (STRICT.aliases + 1)) + "]")


def test_a_few_aliases_are_read() -> None:
    assert read("a: &x [1, 2]\nb: *x").value == {"a": [1, 2], "b": [1, 2]}


def test_an_anchor_that_holds_itself_is_refused() -> None:
    assert "stands inside what it names" in refusal("&a [*a]")


def test_a_star_without_quotes_is_explained() -> None:
    assert "must be in quotes" in refusal("tools: [*]")
    assert "must be in quotes" in refusal("tools: [*_file]")


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 5000, "a: " * 3, "{" * 100 + "a: 1"])
def test_depth_is_bounded(text: str) -> None:
    assert refusal(text)


def test_size_is_bounded() -> None:
    assert "1 MiB are the most" in refusal("a" * (STRICT.size + 1))


@pytest.mark.parametrize("text", [b"\xff\xfe", "\ud800", "a: \x00", b"a: \x01", "a: \x7f"])
def test_what_is_not_text_is_refused(text: str | bytes) -> None:
    assert "f:1:" in refusal(text)


def test_a_byte_order_mark_is_skipped() -> None:
    assert read("\ufeffa: 1").value == {"a": 1}


def outcome(text: str | bytes, loader: object) -> object:
    try:
        found = read(text, loader=loader)
    except InvalidArgument:
        return "refused"
    return found.value, found.values, found.keys


words = st.sampled_from(
    [
        "a",
        "b: 1",
        "- ",
        "  ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "'",
        '"',
        "#",
        "&x ",
        "*x",
        "!",
        "|",
        ">",
        "?",
        "~",
        "1",
    ]
)


@given(st.lists(words, max_size=12).map("".join))
@example("a:\n- b\n- c: 1\n  d: [x, {y: z}]\n")
def test_reading_ends_in_values_or_in_invalid_argument(text: str) -> None:
    for loader in LOADERS:
        assert outcome(text, loader)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_values_or_in_invalid_argument(raw: bytes) -> None:
    for loader in LOADERS:
        assert outcome(raw, loader)


scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(trees, st.booleans())
def test_both_loaders_give_the_same_values_at_the_same_places(tree: object, flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    pure, fast = outcome(text, yaml.SafeLoader), outcome(text, yaml.CSafeLoader)
    assert pure == fast


def test_a_long_text_is_refused() -> None:
    assert "the limit is 65536" in refusal("a: " + "x" * 70_000)


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="surrogate"):
        read(r'a: "\ud800"', loader=yaml.SafeLoader)
    assert refusal(r'a: "\ud800"')


def test_anchors_of_plain_words_are_read_and_those_of_keys_too() -> None:
    assert read("&k a: &v 1\nb: *v\nc: *k").value == {"a": 1, "b": 1, "c": "a"}
