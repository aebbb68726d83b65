"""A quicker start for short commands: grpc without its asyncio half."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def do_without_aio() -> None:
    """Put an empty `grpc.aio` where grpc's own import would load the whole of it, which takes 20 to 60 ms.

    Asking it for a name loads it after all. Only the command line does this, to its own process.
    """
    if "grpc" in sys.modules:
        return
    empty = ModuleType("grpc.aio")
    empty.__spec__ = ModuleSpec("grpc.aio", None)

    def load(name: str) -> Any:  # noqa: ANN401 - whatever grpc.aio calls so
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get("grpc.aio") is empty:
            del sys.modules["grpc.aio"]
        import grpc.aio as real  # noqa: PLC0415 - this is the point: only now

        return getattr(real, name)

    empty.__dict__["__getattr__"] = load
    sys.modules["grpc.aio"] = empty
