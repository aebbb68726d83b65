"""Pages of lists: an opaque, signed cursor names the last item given out, so inserts shift nothing."""

from __future__ import annotations

import binascii
import heapq
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

from rune.core.call import Call
from rune.errors import InvalidArgument, Violation

T = TypeVar("T")

MAC: Final = 16
_FOREVER: Final = 10**14
"""Milliseconds past which no time of ours lies."""


class Cursors:
    """Signs positions. A cursor is good for the list and the organization that it was made for."""

    def __init__(self, secret: str) -> None:
        self._secret = bytes.fromhex(secret)

    def made(self, call: Call, position: str) -> str:
        """The cursor that continues behind a position."""
        text = position.encode("utf-8", "surrogatepass")
        return urlsafe_b64encode(self._mac(call, text) + text).decode().rstrip("=")

    def read(self, call: Call, cursor: str) -> str | None:
        """The position, None for the beginning; raises InvalidArgument for a cursor that is none of ours."""
        if not cursor:
            return None
        try:
            data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
            mac, text = data[:MAC], data[MAC:]
            if hmac.compare_digest(mac, self._mac(call, text)):
                return text.decode("utf-8", "surrogatepass")
        except (binascii.Error, UnicodeError):
            pass
        raise InvalidArgument.of([Violation("cursor", "is not one that this list gave out")])

    def _mac(self, call: Call, text: bytes) -> bytes:
        place = f"{call.principal.organization}\0{call.operation.name}\0".encode()
        return hmac.digest(self._secret, place + text, "sha256")[:MAC]

    def page(
        self, call: Call, items: Iterable[T], by: Callable[[T], str], *, limit: int, cursor: str
    ) -> tuple[list[T], str | None]:
        """The part of the items that is asked for, in the order of `by`, and the cursor of the next part."""
        after = self.read(call, cursor)
        found = (item for item in items if after is None or by(item) > after)
        rest = heapq.nsmallest(limit + 1, found, key=by)
        if len(rest) <= limit:
            return rest, None
        part = rest[:limit]
        return part, self.made(call, by(part[-1]))

    def walk(
        self, call: Call, keys: Sequence[str], at: Callable[[str], T | None], *, limit: int, cursor: str
    ) -> tuple[list[T], str | None]:
        """As `page`, of sorted keys: only what is shown is looked at. `at` gives None for what is out."""
        after = self.read(call, cursor)
        begin = 0 if after is None else bisect_right(keys, after)
        found: list[tuple[str, T]] = []
        for key in islice(keys, begin, None):
            item = at(key)
            if item is None:
                continue
            if len(found) == limit:
                return [each for _, each in found], self.made(call, found[-1][0])
            found.append((key, item))
        return [each for _, each in found], None


def newest_first(at: datetime | None, id: str) -> str:
    """A key that sorts what is newer before what is older."""
    millis = int(at.timestamp() * 1000) if at else 0
    return f"{_FOREVER - millis:015d}{id}"


def oldest_first(at: datetime | None, id: str) -> str:
    """A key that sorts what is older before what is newer."""
    millis = int(at.timestamp() * 1000) if at else 0
    return f"{millis:015d}{id}"
