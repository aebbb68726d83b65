"""HTML: nothing that comes from elsewhere is anything but text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from rune.dashboard.html import el
from rune.dashboard.parts import badge, link, path, row, spark


class Seen(HTMLParser):
    """Remembers tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")))
def test_text_and_attributes_come_back_as_they_went_in(words: str) -> None:
    seen = Seen()
    seen.feed(str(el("p", words, title=words)))
    seen.close()
    assert seen.tags == ["p"]
    assert seen.attributes == [("title", words)]
    assert seen.text == words


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_path_of_ours_never_leads_elsewhere(words: str) -> None:
    made = path("agents", words)
    assert made.startswith("/agents/")
    assert "/" not in made.removeprefix("/agents/")
    assert "?" not in made


def test_parts_escape_what_they_are_given() -> None:
    bad = '"><script>x</script>'
    shown = (
        badge(bad),
        row(bad, bad, to=bad),
        link(path("a", bad), bad),
        spark([1], bad),
        el("a", bad, href=bad),
    )
    assert not any("<script" in str(each) for each in shown)


def test_what_is_none_or_false_is_left_out() -> None:
    assert str(el("input", name="n", value=None, checked=False, required=True)) == '<input name="n" required>'
    assert str(el("p", None, ["a", None, 1])) == "<p>a1</p>"
