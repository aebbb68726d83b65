"""The sandbox's maker: what it complains of is told whole."""

from __future__ import annotations

import os
import time

import pytest

from rune.orchestrator.runners.keeper.sandbox import said


def test_a_complaint_that_comes_in_pieces_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    read, rest = os.read, [b"Can't find source path /nowhere\n"]

    def reading(fd: int, most: int) -> bytes:
        piece = read(fd, most)
        if rest:
            os.write(theirs, rest.pop())
        return piece

    monkeypatch.setattr(os, "read", reading)
    os.write(theirs, b"bwrap: ")
    assert said(ours, time.monotonic() + 10) == "bwrap: Can't find source path /nowhere"
    os.close(ours)
    os.close(theirs)


def test_a_complaint_without_an_end_is_told_when_its_maker_is_gone() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"bwrap: out of")
    os.close(theirs)
    assert said(ours, time.monotonic() + 10) == "bwrap: out of"
    os.close(ours)
