"""Sessions of commands in containers: their output ends with them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from rune.orchestrator.runners.docker.sessions import LAST, DockerSession


class Pipe:
    """Gives what is put in; like that of an Engine that forgot it, it has no end of its own."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        for chunk in chunks:
            self.chunks.put_nowait(("stdout", chunk))

    async def frame(self) -> tuple[str, bytes]:
        return await self.chunks.get()


def session(pipe: Pipe) -> DockerSession:
    nobody = cast("Any", None)
    return DockerSession(nobody, "e1", cast("Any", pipe), container="c1", tty=False)


@pytest.mark.looptime
async def test_output_ends_some_time_after_a_command_whose_pipe_stays_open() -> None:
    pipe = Pipe(b"one", b"two")
    made = session(pipe)
    made.over(0)
    began = asyncio.get_running_loop().time()
    assert [chunk async for _, chunk in made.output()] == [b"one", b"two"]
    assert asyncio.get_running_loop().time() - began == pytest.approx(LAST)


@pytest.mark.looptime
async def test_a_command_that_is_silent_for_long_is_waited_for() -> None:
    pipe = Pipe()
    made = session(pipe)
    asyncio.get_running_loop().call_later(1_000, pipe.chunks.put_nowait, ("stdout", b"late"))
    asyncio.get_running_loop().call_later(2_000, made.over, 0)
    assert [chunk async for _, chunk in made.output()] == [b"late"]
