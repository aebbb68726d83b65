"""GetService over gRPC against a bare echo on grpc.aio with messages of the same size, both in one run.

Rune's side authenticates, counts, authorizes, validates, reads the store, meters and encodes; the echo gives
back bytes. 32 calls at once, one process each side, in turns. Run: python benchmarks/api_grpc.py
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import grpc
import grpc.aio
from doors import world

from rune.api import codec
from rune.api.common import OK
from rune.api.orchestrator import services
from rune.server.grpc import GrpcDoor, GrpcOptions

AT_ONCE = 32
SECONDS = 0.8
ROUNDS = 8
ASK = codec.encode(services.GetServiceRequest(name="api", namespace="default"))
ANSWER = codec.encode(services.ServiceResponse(service=world.SHOWN, status=OK))


class Echo(grpc.GenericRpcHandler):
    """Answers everything with the same bytes."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def echo(_ask: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            return ANSWER

        return grpc.unary_unary_rpc_method_handler(echo)


class Bare:
    """The echo as a door."""

    def __init__(self) -> None:
        self._server = grpc.aio.server(handlers=[Echo()])

    async def open(self) -> int:
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def close(self, grace: float) -> None:
        await self._server.stop(grace)


async def bare() -> Bare:
    return Bare()


async def rune() -> GrpcDoor:
    return GrpcDoor(await world.dispatcher(), world.CLOCK, GrpcOptions(address="127.0.0.1:0"))


async def calls(port: int) -> tuple[float, float]:
    """How many calls were answered, and in what time."""
    metadata = (("authorization", f"Bearer {world.TOKEN}"),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(services.get.path)  # pyright: ignore[reportUnknownVariableType] - without codecs it has no types
        assert len(await call(ASK, metadata=metadata)) >= len(ANSWER)
        done = 0
        began = time.perf_counter()

        async def work() -> None:
            nonlocal done
            while time.perf_counter() < began + SECONDS:
                await call(ASK, metadata=metadata)
                done += 1

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return done, time.perf_counter() - began


def main() -> None:
    print(f"GetService over gRPC, answers of {len(ANSWER)} bytes, {AT_ONCE} calls at once; the bar is 0.7")
    world.compare(__file__, calls, ROUNDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        world.serve(rune if sys.argv[2] == "rune" else bare)
    else:
        main()
