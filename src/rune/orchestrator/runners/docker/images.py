"""Gets images from their registries, with credentials; whoever wants the same one waits for the same pull."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import Counter

import msgspec

from rune.errors import FailedPrecondition, Unavailable
from rune.orchestrator.runners.base import Credentials, Pulling, Workload
from rune.orchestrator.runners.docker.engine import Engine, Refused, lines
from rune.orchestrator.runners.docker.registries import host_of

logger = logging.getLogger(__name__)

PULL = 1800.0
"""Seconds for a whole image."""

PATIENCE = 10.0
"""Seconds that one `pull` waits; the pull itself goes on, and the next caller hears how it went."""

KEPT = 60.0
"""Seconds that the outcome of a pull is kept for a caller who did not wait for it."""

SILENCE = 300.0
"""Seconds without a word of progress."""


Key = tuple[str, str]
"""An image, and the credentials that it is pulled with."""


class Progress(msgspec.Struct, frozen=True):
    """A line of the stream that reports on a pull; the failure of a pull is one of them."""

    error: str = ""


class Images:
    """The Engine's store of images."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pulls: dict[Key, asyncio.Task[None]] = {}
        self._waiting: Counter[Key] = Counter()

    async def pull(self, workload: Workload) -> None:
        """Get the newest image of that name; raises FailedPrecondition with the registry's words.

        Asking while another asks for the same, with the same credentials, waits for that answer. Raises
        Pulling when it takes long: the image is on its way, and whoever asks again gets the outcome.
        """
        key = (workload.image, header(workload.credentials, workload.image))
        task = self._pulls.get(key)
        if task is None:
            task = self._pulls[key] = asyncio.get_running_loop().create_task(self._pull(*key))
            task.add_done_callback(lambda done: self._over(key, done))
        elif task.done():
            self._drop(key, task)
        self._waiting[key] += 1
        try:
            done, _ = await asyncio.wait([task], timeout=PATIENCE)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
        if not done:
            raise Pulling(f"image {workload.image!r} is being pulled")
        task.result()

    async def close(self) -> None:
        """Stop waiting for pulls; the Engine drops what is unfinished."""
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _drop(self, key: Key, task: asyncio.Task[None]) -> None:
        """The next one pulls anew."""
        if self._pulls.get(key) is task:
            del self._pulls[key]

    def _over(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._waiting[key]:
            self._drop(key, task)
        else:
            asyncio.get_running_loop().call_later(KEPT, self._drop, key, task)
        if not task.cancelled() and (error := task.exception()):  # read, also when nobody waits any more
            logger.info("pull failed", extra={"image": key[0], "reason": str(error)})

    async def _pull(self, image: str, auth: str) -> None:
        try:
            async with asyncio.timeout(PULL):
                await self._follow(image, auth)
        except Refused as error:
            raise _failed(image, error.reason) from error
        except TimeoutError as error:
            message = f"image {image!r} was not pulled within {PULL:g} s, or came to a standstill"
            raise Unavailable(message) from error

    async def _follow(self, image: str, auth: str) -> None:
        params = {"fromImage": image, "tag": "" if _names_version(image) else "latest"}
        headers = {"X-Registry-Auth": auth} if auth else None
        what = f"pull image {image!r}"
        stream = self._engine.stream("POST", "images/create", what=what, params=params, headers=headers)
        async with asyncio.timeout(None) as silence, stream as response:
            async for line in lines(response):
                silence.reschedule(asyncio.get_running_loop().time() + SILENCE)
                if error := msgspec.json.decode(line, type=Progress).error:
                    raise _failed(image, error)


def header(credentials: Credentials | None, image: str) -> str:
    """The value of X-Registry-Auth; empty for nobody in particular."""
    if credentials is None:
        return ""
    server = credentials.server or host_of(image)
    if credentials.identity_token:
        given = {"identitytoken": credentials.identity_token, "serveraddress": server}
    else:
        given = {
            "username": credentials.username,
            "password": credentials.password,
            "serveraddress": server,
        }
    return base64.urlsafe_b64encode(msgspec.json.encode(given)).decode()


def _names_version(image: str) -> bool:
    """Whether it says which: without a tag the Engine would pull them all."""
    last = image.rsplit("/", 1)[-1]
    return ":" in last or "@" in last


def _failed(image: str, reason: str) -> FailedPrecondition:
    return FailedPrecondition(f"image {image!r} cannot be pulled: {reason}")
