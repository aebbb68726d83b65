"""The wire keeps its word: published numbers and types, files that were derived, who may do what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import descriptor_pb2
from openapi_spec_validator import validate

from promises import promise
from rune.api import OPERATIONS, Operation, generate, proto
from rune.api.descriptors import serialized
from rune.api.fields import Message, WireEnum
from rune.api.shape import Field, fields
from rune.core import permissions
from rune.core.call import Caller
from rune.core.clock import EPOCH
from rune.core.dispatch import LOCAL_ONLY
from rune.errors import NotFound, PermissionDenied, RuneError
from surface import protoc
from surface.standins import dispatcher

pytestmark = promise("doors.numbers")

ROOT = Path(__file__).parents[2]
LOCKS = json.loads((ROOT / generate.LOCK).read_text(encoding="utf-8"))
LOCK = LOCKS["rune.api"]
OWN_FROM = proto.OWN_FIELDS_FROM
OWN_ENUMS = {
    "DesiredState",
    "NamespaceDeletion",
    "ReadyWhen",
    "RevisionState",
    "ScalingState",
    "QuarantineMode",
    "QuarantineWhen",
}
OWN_METHODS = {
    "Backup",
    "BeginOidc",
    "BeginSession",
    "ExportAudit",
    "FinishOidc",
    "ForceDeletion",
    "ListMyPermissions",
    "ListRevisions",
    "ListSessions",
    "LogIn",
    "LogOut",
    "PolicyWatch",
    "RetryDeletion",
    "RevokeSession",
    "ChangePassword",
    "RollbackService",
    "RotateKek",
    "RunCommand",
    "TokenWatch",
    "UserDelete",
    "UserGet",
    "UserSetPassword",
    "UserUpdate",
    "UserWatch",
    "VerifyAudit",
    "WatchConfigmaps",
    "WatchDeletions",
    "WatchRegistries",
    "WatchSecrets",
}
PUBLISHED = "ff2b38a21a8ee4228af3c785d721ccb89fe617bf93b6e9edf6c5ef79660c2383"
"""Of the published contract. It changes when a number or a type of it does, which breaks every client."""


def published() -> dict[str, Any]:
    """The part of the lock that is the published contract."""
    return {
        "messages": {
            name: {
                field: row
                for field, row in LOCK["messages"][name].items()
                if int(row.split(" ")[0]) < OWN_FROM
            }
            for name in LOCK["published"]
        },
        "enums": {name: rows for name, rows in LOCK["enums"].items() if name not in OWN_ENUMS},
        "services": {
            name: {method: row for method, row in rows.items() if method not in OWN_METHODS}
            for name, rows in LOCK["services"].items()
        },
    }


def test_the_published_numbers_and_types_are_what_they_were() -> None:
    text = json.dumps(published(), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == PUBLISHED


@promise("doors.package")
def test_everything_that_was_published_of_a_declared_message_is_declared() -> None:
    declared = proto.declare(OPERATIONS)
    contract = published()
    for name, rows in declared["messages"].items():
        missing = contract["messages"].get(name, {}).keys() - rows.keys()
        assert not missing, f"{name} lacks {missing}"
    for name, rows in declared["enums"].items():
        assert contract["enums"].get(name, {}).keys() <= rows.keys(), name
    for name, rows in declared["services"].items():
        assert contract["services"].get(name, {}).keys() <= rows.keys(), name


def ours() -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto.FromString(serialized("rune.api"))


def test_the_descriptors_have_the_locked_numbers_and_types() -> None:
    described = ours()
    for message in described.message_type:
        locked = LOCK["messages"][message.name]
        found = {field.name: field.number for field in message.field}
        assert found == {name: int(locked[name].split(" ")[0]) for name in found}
    for enum in described.enum_type:
        assert {v.name: str(v.number) for v in enum.value} == LOCK["enums"][enum.name]


def test_protoc_makes_the_same_descriptors_of_the_text() -> None:
    described = ours()
    described.name = protoc.compiled().name
    assert described == protoc.compiled()


def test_every_derived_file_is_fresh() -> None:
    derived = generate.files(LOCKS)
    assert [path for path, content in derived.items() if (ROOT / path).read_bytes() != content] == []
    assert permissions.PAGE.read_text(encoding="utf-8") == permissions.text()


@promise("doors.openapi")
def test_the_openapi_document_is_valid_and_complete() -> None:
    document = json.loads((ROOT / generate.PACKAGED / "openapi.json").read_text(encoding="utf-8"))
    validate(document)
    listed = {row["operationId"] for verbs in document["paths"].values() for row in verbs.values()}
    assert listed == {row.name for row in OPERATIONS if row.http is not None}


def test_every_operation_is_in_the_reference_with_what_it_needs() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    for row in OPERATIONS:
        section = page.partition(f"### {row.name}\n")[2].partition("\n### ")[0]
        assert f"{row.package}.{row.service}/{row.method}`" in section
        assert row.unsupported in section


ROLES = {principal.name: principal for principal in permissions.principals()}
ROWS = {row.name: row for row in OPERATIONS}


def golden() -> list[tuple[str, str, str]]:
    """Operation, role and the page's word for whether it may."""
    lines = [line.split() for line in permissions.text().splitlines() if not line.startswith("#")]
    head, *rows = lines
    return [(row[0], role, word) for row in rows for role, word in zip(head[4:], row[4:], strict=True)]


@promise("access.rule", "weak-spot.06")
@pytest.mark.parametrize("name, role, word", golden())
async def test_the_dispatcher_allows_what_the_page_says(name: str, role: str, word: str) -> None:
    outcome = await asked(ROWS[name], role, local=True)
    assert isinstance(outcome, NotFound if word == "yes" else PermissionDenied)


@pytest.mark.parametrize("name", [row.name for row in OPERATIONS if row.local_only])
async def test_what_is_local_is_refused_from_elsewhere_even_to_root(name: str) -> None:
    outcome = await asked(ROWS[name], "root", local=False)
    assert str(outcome) == LOCAL_ONLY


async def asked(row: Operation[Any, Any], role: str, *, local: bool) -> RuneError:
    """What comes of asking for the operation: NotFound means that the handler was reached."""
    row = msgspec.structs.replace(row, unsupported="")
    road = dispatcher(ROLES)

    async def one(call: object, ask: Message) -> Message:
        raise NotFound

    async def many(call: object, ask: Message, *more: object) -> Any:
        yield await one(call, ask)

    road.handles(row)(many if row.streams else one)
    caller = Caller(edge="local", request_id="1", is_local=local, bearer=role)
    request = minimal(row.request)

    async def asks() -> AsyncIterator[Callable[[], Message]]:
        yield lambda: request

    asking = (
        anext(road.stream(row, caller, asks())) if row.streams else road.call(row, caller, lambda: request)
    )
    with pytest.raises(RuneError) as caught:
        await asking
    return caught.value


def minimal(model: type[Message]) -> Message:
    """A message with nothing but what it must have."""
    return model(**{item.name: least(item) for item in fields(model) if item.required or item.name == "init"})


def least(item: Field) -> Any:
    if item.is_message:
        return [minimal(item.python)] if item.repeated else minimal(item.python)
    kind: Any = item.python
    if issubclass(kind, WireEnum):
        return list[WireEnum](kind)[-1]
    if item.is_time:
        return EPOCH
    one = "a" if kind is str else kind(1)
    return [one] if item.repeated else one
