"""Frames of the Engine's logs become lines, wherever the network cuts them and however often they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rune.orchestrator.runners.base import LogLine
from rune.orchestrator.runners.docker.logs import HEADER, Place

TEXTS = st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 3), st.text(max_size=20)), max_size=12)


def frames(said: list[tuple[int, int, str]]) -> list[bytes]:
    """Frames with times that often are the same, and never go back."""
    nanos, found = 0, list[bytes]()
    for stream, later, text in said:
        nanos += later
        clean = text.replace("\n", " ").encode()
        payload = f"2026-01-01T00:00:00.{nanos:09d}Z ".encode() + clean + b"\n"
        found.append(HEADER.pack(stream, len(payload)) + payload)
    return found


def lines(place: Place, chunks: list[bytes]) -> list[LogLine]:
    return [line for chunk in chunks for line in place.feed(chunk)]


@given(TEXTS, st.integers(1, 9))
def test_lines_are_the_same_wherever_the_stream_is_cut(said: list[tuple[int, int, str]], size: int) -> None:
    data = b"".join(frames(said))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert lines(Place("i"), pieces) == lines(Place("i"), [data])


@given(TEXTS, st.data())
def test_a_reader_that_resumes_sees_each_line_once(
    said: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    whole = frames(said)
    broke = data.draw(st.integers(0, len(whole)))
    place = Place("i")
    seen = lines(place, whole[:broke])
    place.resume()
    again = [frame for frame, at in zip(whole, times(said), strict=True) if at >= place.nanos % 1_000_000_000]
    assert seen + lines(place, again) == lines(Place("i"), whole)


def times(said: list[tuple[int, int, str]]) -> list[int]:
    total, found = 0, list[int]()
    for _, later, _ in said:
        total += later
        found.append(total)
    return found


def test_what_is_not_text_is_shown_as_such() -> None:
    payload = b"2026-01-01T00:00:00.000000001Z \xff\n"
    [line] = Place("i").feed(HEADER.pack(2, len(payload)) + payload)
    assert (line.stream, line.text, line.partial) == ("stderr", "�", False)


def test_a_word_of_the_engine_itself_among_the_frames_is_shown_as_such() -> None:
    whole = b"2026-01-01T00:00:00.000000001Z one\n"
    word = b"Error grabbing logs: invalid character '\\x00' looking for beginning of value\n"
    after = b"2026-01-01T00:00:00.000000002Z two\n"
    data = [HEADER.pack(1, len(whole)) + whole, HEADER.pack(3, len(word)) + word]
    first, told, last = lines(Place("i"), [*data, HEADER.pack(1, len(after)) + after])
    assert (first.text, last.text) == ("one", "two")
    assert (told.stream, told.at) == ("stderr", first.at)
    assert "Error grabbing logs: invalid character" in told.text
