"""Backups over the road: pieces with a hash, one at a time, nothing left behind, and audited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from planes import Plane, caller, plane
from rune.api.orchestrator import admin
from rune.api.orchestrator import backup as api
from rune.errors import PermissionDenied, ResourceExhausted, Unavailable
from rune.orchestrator.backup import PIECE, Backup

WHOLE = bytes(range(256)) * 3000


class Shelf:
    """A store whose copy is always the same."""

    async def backup(self, to: Path) -> None:
        to.write_bytes(WHOLE)


async def pieces(p: Plane, by: str) -> AsyncIterator[api.BackupResponse]:
    """A backup as somebody."""

    async def asks() -> AsyncIterator[Callable[[], api.BackupRequest]]:
        yield api.BackupRequest

    stream: Any = p.dispatcher.stream(api.create, caller(by), asks())
    async with aclosing(stream) as items:
        async for item in items:
            yield item


async def test_a_backup_comes_in_pieces_with_its_size_and_hash(tmp_path: Path) -> None:
    async with plane() as p, p.following():
        Backup(Shelf(), tmp_path).register(p.dispatcher)
        root = await p.bootstrap()
        found = [piece async for piece in pieces(p, root)]
        assert b"".join(piece.data for piece in found) == WHOLE
        assert max(len(piece.data) for piece in found) == PIECE
        assert (found[-1].size, found[-1].sha256) == (len(WHOLE), sha256(WHOLE).hexdigest())
        assert [call.operation.name for call, _, _ in p.heard.records][-1] == "backup"
    assert not list(tmp_path.iterdir())


async def test_one_at_a_time_and_nothing_is_left_when_the_reader_leaves(tmp_path: Path) -> None:
    async with plane() as p, p.following():
        Backup(Shelf(), tmp_path).register(p.dispatcher)
        root = await p.bootstrap()
        first: Any = pieces(p, root)
        async with aclosing(first):
            await anext(first)
            with pytest.raises(ResourceExhausted, match="another backup is under way"):
                _ = [piece async for piece in pieces(p, root)]
        assert not list(tmp_path.iterdir())
        assert [piece async for piece in pieces(p, root)]


async def test_only_who_may_do_everything_about_the_server_gets_one(tmp_path: Path) -> None:
    async with plane() as p, p.following():
        Backup(Shelf(), tmp_path).register(p.dispatcher)
        root = await p.bootstrap()
        await p.call(admin.create_user, admin.UserCreateRequest(name="ann", policies=["readwrite"]), by=root)
        ann = (await p.token(root, "ann")).secret
        with pytest.raises(PermissionDenied):
            _ = [piece async for piece in pieces(p, ann)]


async def test_what_a_killed_server_left_is_swept_up_and_no_room_is_told(tmp_path: Path) -> None:
    (tmp_path / "backup-old").mkdir()
    (tmp_path / "backup-old/state.db").write_bytes(WHOLE)
    Backup(Shelf(), tmp_path)
    assert not list(tmp_path.iterdir())
    async with plane() as p, p.following():
        Backup(Shelf(), tmp_path / "nowhere").register(p.dispatcher)
        root = await p.bootstrap()
        with pytest.raises(Unavailable, match="no room"):
            _ = [piece async for piece in pieces(p, root)]
