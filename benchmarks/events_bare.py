"""The least that makes batches of events durable over HTTP: what the event store's figures are compared with.

Starlette behind the same uvicorn set-up as runed, msgspec, and one SQLite writer that commits for everybody
who waits. It knows no keys, limits, duplicates, counters, indexes, agents or alerts.
Run: python benchmarks/events_bare.py FOLDER; it says its port, and stays until its stdin ends.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import msgspec
from doors import world
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rune.core.events.event import Event
from rune.server.drain import Streams
from rune.server.http import HttpDoor, HttpOptions

Row = tuple[str, str, float, bytes]
encode = msgspec.msgpack.Encoder().encode


class Batch(msgspec.Struct):
    """What is sent."""

    events: list[Event]


decode = msgspec.json.Decoder(Batch).decode


class Table:
    """A list, a thread, one transaction for the list."""

    def __init__(self, path: Path, *, once: bool = False) -> None:
        self.db = apsw.Connection(str(path))
        self.db.pragma("journal_mode", "WAL")
        self.db.pragma("synchronous", "FULL")
        self.db.pragma("wal_autocheckpoint", 4_000)
        unique = " UNIQUE" if once else ""
        self.db.execute(
            f"CREATE TABLE events (id INTEGER PRIMARY KEY, event_id{unique}, agent_id, at, body BLOB)"
        )
        self.insert = "INSERT OR IGNORE INTO events (event_id, agent_id, at, body) VALUES (?, ?, ?, ?)"
        self.thread = ThreadPoolExecutor(1)
        self.waiting: list[tuple[list[Row], asyncio.Future[None]]] = []
        self.busy = False

    def append(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """Done once the batch is durable."""
        rows = [(each.event_id, each.agent_id, each.timestamp.timestamp(), encode(each)) for each in events]
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self.waiting.append((rows, done))
        if not self.busy:
            self.busy = True
            loop.call_soon(self._start)
        return done

    def close(self) -> None:
        """Let go of the file."""
        self.thread.shutdown()
        self.db.close()

    def _start(self) -> None:
        batch, self.waiting = self.waiting, []
        self.busy = bool(batch)
        if batch:
            rows = [row for rows, _ in batch for row in rows]
            written = asyncio.get_running_loop().run_in_executor(self.thread, self._write, rows)
            written.add_done_callback(lambda written: self._landed(batch, written))

    def _landed(
        self, batch: list[tuple[list[Row], asyncio.Future[None]]], written: asyncio.Future[None]
    ) -> None:
        written.result()
        for _, done in batch:
            done.set_result(None)
        asyncio.get_running_loop().call_soon(self._start)

    def _write(self, rows: list[Row]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(self.insert, rows)
        self.db.execute("COMMIT")


def door(table: Table) -> HttpDoor:
    """POST /v1/events and nothing else."""

    async def ingest(request: Request) -> Response:
        events = decode(await request.body()).events
        await table.append(events)
        answer = msgspec.json.encode({"accepted": len(events)})
        return Response(answer, status_code=202, media_type="application/json")

    app = Starlette(routes=[Route("/v1/events", ingest, methods=["POST"])])
    return HttpDoor(app, Streams(), HttpOptions(port=0))


if __name__ == "__main__":

    async def made() -> HttpDoor:
        return door(Table(Path(sys.argv[1]) / "bare.db", once=sys.argv[2:] == ["once"]))

    world.serve(made)
