"""A quicker start for short commands: grpc without its asyncio half, and without asyncio."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def do_without_aio() -> None:
    """Import grpc with nothing in the place of `grpc.aio` and, where nobody needs it yet, of `asyncio`.

    That saves 20 to 60 ms, and 20 ms. Asking what stands there for a name loads the module after all; whoever
    else imports `asyncio` gets the real one. Only the command line does this, to its own process.
    """
    if "grpc" in sys.modules:
        return
    sys.modules["grpc.aio"] = _later("grpc.aio")
    if "asyncio" in sys.modules:
        return
    sys.modules["asyncio"] = empty = _later("asyncio")
    try:
        import_module("grpc")  # which keeps what it finds there, for its asyncio half
    finally:
        if sys.modules.get("asyncio") is empty:
            del sys.modules["asyncio"]


def _later(name: str) -> ModuleType:
    """An empty module, which knows the names of the real one when they are asked for."""
    empty = ModuleType(name)
    empty.__spec__ = ModuleSpec(name, None)

    def load(wanted: str) -> Any:  # noqa: ANN401 - whatever the module calls so
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        if sys.modules.get(name) is empty:
            del sys.modules[name]
        return getattr(import_module(name), wanted)

    empty.__dict__["__getattr__"] = load
    return empty
