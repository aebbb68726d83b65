"""Backup: everything that the server keeps, as one file."""

from __future__ import annotations

from rune.api.fields import Int64, Message
from rune.api.operation import Effect, Http, Operation, Rate, Streaming
from rune.api.orchestrator.admin import ADMIN


class BackupRequest(Message):
    """Nothing to say: a backup is of everything."""


class BackupResponse(Message):
    """A piece of the copy; the last message has its size and its SHA-256 instead."""

    data: bytes = b""
    size: Int64 = 0
    sha256: str = ""


create = Operation(
    method="Backup",
    request=BackupRequest,
    response=BackupResponse,
    summary="Copy everything that the server keeps, as it is at one moment.",
    http=Http(verb="GET", path="/v1/admin/backup"),
    name="backup",
    streaming=Streaming.SERVER,
    rate=Rate.STREAM,
    # It changes nothing, but who took everything along belongs into the audit log.
    effect=Effect.SETTLE,
    **ADMIN,
)
