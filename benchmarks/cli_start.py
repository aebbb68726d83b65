"""How long `rune version` and `rune get services` take, each beside what it is measured against.

The server of `get services` is a process of its own that answers like runed: an empty list.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 15
PYTHON = sys.executable
RUNE = [str(Path(PYTHON).with_name("rune"))]


def main() -> None:
    """Print both sides of both figures."""
    with tempfile.TemporaryDirectory() as home, _server() as server:
        assert server.stdout
        address = server.stdout.readline().decode().strip()
        config = Path(home) / ".rune" / "config.yaml"
        config.parent.mkdir()
        text = f"current-context: here\ncontexts:\n  here:\n    server: {address}\n    token: let-me-in\n"
        config.write_text(text, encoding="utf-8")
        config.chmod(0o600)
        environ = {"HOME": home, "PATH": os.environ["PATH"]}
        commands = {
            "python -c pass": [PYTHON, "-c", "pass"],
            "rune version": [*RUNE, "version"],
            'python -c "import grpc, rich"': [PYTHON, "-c", "import grpc, rich"],
            "rune get services": [*RUNE, "get", "services"],
        }
        seconds = {name: list[float]() for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                seconds[name].append(_timed(command, environ))
        server.terminate()
    best = {name: min(values) * 1e3 for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:32} best {best[name]:6.1f} ms   median {statistics.median(values) * 1e3:6.1f} ms")
    _judge("rune version", best["rune version"], 1.5 * best["python -c pass"] + 60)
    _judge("rune get services", best["rune get services"], 1.3 * best['python -c "import grpc, rich"'])


def _timed(command: list[str], environ: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environ, check=True, capture_output=True)
    return time.perf_counter() - started


def _judge(name: str, have: float, most: float) -> None:
    print(f"{name}: {have:.1f} ms, the limit is {most:.1f} ms: {'good' if have <= most else 'TOO SLOW'}")


def _server() -> subprocess.Popen[bytes]:
    return subprocess.Popen([PYTHON, __file__, "serve"], stdout=subprocess.PIPE)


async def _serve() -> None:
    import grpc  # noqa: PLC0415 - the measuring side does without
    import grpc.aio  # noqa: PLC0415 - as above

    from rune.api import codec  # noqa: PLC0415 - as above
    from rune.api.orchestrator import services  # noqa: PLC0415 - as above

    async def listed(_request: bytes, _context: object) -> bytes:
        return codec.encode(services.ListServicesResponse(revision=1))

    server = grpc.aio.server()
    handle: Any = grpc.unary_unary_rpc_method_handler  # raw bytes, which its type does not know
    name = f"{services.list_.package}.{services.list_.service}"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {services.list_.method: handle(listed)}),)
    )
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(_serve())
    else:
        main()
