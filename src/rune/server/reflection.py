"""gRPC reflection over our own descriptors, and those of the standard services beside them."""

from __future__ import annotations

from collections.abc import Iterable

import grpc.aio
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from rune.api.descriptors import PACKAGES, serialized


def add(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Let the server tell which services it has and what their messages look like."""
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=_pool())


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    ours = [serialized(package) for package in PACKAGES]
    for file in (*ours, health_pb2.DESCRIPTOR.serialized_pb, reflection_pb2.DESCRIPTOR.serialized_pb):
        pool.AddSerializedFile(file)
    return pool
