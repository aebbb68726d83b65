"""The protobuf classes of messages, from the files that `python -m rune.api.generate` writes, one a package.

The compiled half of protobuf has all that is needed; its public modules give the same classes and take
70 ms longer to import, which every command of the CLI would pay. They serve where it is missing.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

from google.protobuf.message import Message as ProtoMessage

from rune.api.fields import Message, WireEnum
from rune.api.shape import proto_name

SECURITY = "rune.security.v1"
PACKAGES = ("rune.api", SECURITY)


def path_of(package: str) -> str:
    """Where the descriptors of a package are; as text, since every command would wait for pathlib."""
    return os.path.join(os.path.dirname(__file__), f"{package}.binpb")  # noqa: PTH118, PTH120 - the same


def serialized(package: str) -> bytes:
    """The descriptors of a package, as protobuf writes a FileDescriptorProto."""
    with open(path_of(package), "rb") as file:  # noqa: PTH123 - as above
        return file.read()


@cache
def _pool(package: str) -> Any:
    """A package's descriptors, apart from any that the host program has loaded; no package needs another."""
    engine = _engine() or import_module("google.protobuf.descriptor_pool")
    found = engine.DescriptorPool()
    found.AddSerializedFile(serialized(package))
    return found


@cache
def proto_class(model: type[Message]) -> type[ProtoMessage]:
    """The protobuf class of a message."""
    package = _package(model)
    descriptor = _pool(package).FindMessageTypeByName(f"{package}.{proto_name(model)}")
    engine = _engine()
    if engine is None:
        return import_module("google.protobuf.message_factory").GetMessageClass(descriptor)
    return engine.MessageMeta(
        descriptor.name, (ProtoMessage,), {"DESCRIPTOR": descriptor, "__module__": None}
    )


@cache
def numbers(words: type[WireEnum]) -> dict[str, int]:
    """The number of each word of an enum."""
    package = _package(words)
    descriptor = _pool(package).FindEnumTypeByName(f"{package}.{proto_name(words)}")
    return {value.name: value.number for value in descriptor.values}


@cache
def unknown_field_set() -> Any:
    """The class that shows the fields of a message that its descriptor does not know."""
    return (_engine() or import_module("google.protobuf.unknown_fields")).UnknownFieldSet


def _package(model: type[Message | WireEnum]) -> str:
    return SECURITY if model.__module__.startswith("rune.api.security.") else "rune.api"


@cache
def _engine() -> Any:
    try:
        return import_module("google._upb._message")
    except ImportError:
        return None
