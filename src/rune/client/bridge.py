"""Between the threads that gRPC works on and the event loop of whoever uses the client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial
from typing import Any

import grpc

from rune.api import codec
from rune.api.fields import Message

AHEAD = 64
"""How many answers of a stream may wait to be taken; a server that sends faster has to wait."""
_END: Any = object()


async def settled(call: Any) -> None:  # noqa: ANN401 - grpc's own class of calls
    """Returns when the call has ended, whatever its end."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    call.add_done_callback(partial(_tell, loop, done))
    await done


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], _call: object) -> None:
    def settle() -> None:
        if not done.done():
            done.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


class Arrivals:
    """Brings the answers of a call, which a thread reads, to the loop; never more than `AHEAD` at once."""

    def __init__(self, call: Any) -> None:  # noqa: ANN401 - grpc's own class of calls
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(AHEAD)
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._stopped = False
        threading.Thread(target=self._read, args=(call,), name="rune-stream", daemon=True).start()

    async def items(self) -> AsyncGenerator[bytes]:
        """The answers; raises what ended the call."""
        while True:
            item = await self._queue.get()
            self._room.release()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped = True
        self._room.release()

    def _read(self, call: Any) -> None:  # noqa: ANN401 - as above
        try:
            for item in call:
                self._put(item)
                if self._stopped:
                    return
        except grpc.RpcError as error:
            self._put(error)
        else:
            self._put(_END)

    def _put(self, item: object) -> None:
        self._room.acquire()
        if not self._stopped and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


class Feed:
    """Brings requests from the loop to the thread of grpc that sends them, one when the last is sent."""

    def __init__(self, requests: AsyncIterator[Message]) -> None:
        self._loop, self._requests = asyncio.get_running_loop(), requests
        self._waiting: Any = None
        self._stopped = False

    def taken(self) -> Iterator[bytes]:
        """The requests, for grpc."""
        while not self._stopped:
            self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            try:
                request = self._waiting.result()
            except (asyncio.CancelledError, RuntimeError):
                return
            if request is _END:
                return
            yield codec.encode(request)

    async def _next(self) -> Any:  # noqa: ANN401 - a request, or the mark of the end
        return await anext(self._requests, _END)

    def stop(self) -> None:
        """Let grpc's thread end."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
