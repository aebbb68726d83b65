"""A client that knows nothing of Rune but `api/*.proto`, as any other language would have it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Self

import grpc.aio
import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]


@cache
def compiled(file: str = "rune.proto") -> descriptor_pb2.FileDescriptorProto:
    """What protoc makes of a file of `api/`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.binpb")
        include = Path(grpc_tools.__file__).parent / "_proto"
        arguments = [
            "protoc",
            f"-I{ROOT / 'api'}",
            f"-I{include}",
            f"--descriptor_set_out={out}",
            file,
        ]
        main: Any = protoc.main  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - it has no types
        assert main(arguments) == 0
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """The compiled files, ready for use."""
    found = descriptor_pool.DescriptorPool()
    found.Add(compiled())
    found.Add(compiled("security.proto"))
    return found


def message(name: str, /, *, package: str = "rune.api", **values: Any) -> Any:
    """A message of the package, by its published name."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{package}.{name}"))(**values)


def _bytes(ask: Any) -> bytes:
    return ask if isinstance(ask, bytes) else ask.SerializeToString()


class Client:
    """Calls methods by their published names."""

    def __init__(self, port: int, token: str) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def method(self, service: str, method: str, package: str = "rune.api") -> Any:
        """The method as a callable."""
        found: Any = pool().FindServiceByName(f"{package}.{service}").methods_by_name[method]
        kind: Any = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }[found.client_streaming, found.server_streaming]
        answer = message_factory.GetMessageClass(found.output_type)
        return kind(
            f"/{package}.{service}/{method}",
            request_serializer=_bytes,
            response_deserializer=answer.FromString,
        )

    async def call(self, service: str, method: str, ask: Any) -> Any:
        """One request, one answer."""
        return await self.method(service, method)(ask, metadata=self.metadata, timeout=10)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.channel.close()
