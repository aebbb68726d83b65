"""A service that writes 50,000 lines a second: its log is captured whole by a real runed while three clients
follow it over gRPC and one stalls; beside it the same writer into a plain pipe that `cat` empties to a file.

The writer keeps the pace by the clock and says in its last line how long it took and what processor time it
had, so a reader that held it up would show there. Run: `python benchmarks/logs_follow.py [rate] [--single]`;
`--single` asks for one line an answer, as a client of the published contract does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import psutil

from rune.api.orchestrator.logs import LogRequest
from rune.api.orchestrator.logs import get as get_logs
from rune.client.client import Client
from rune.client.grpc import GrpcTransport

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from runed import Runed

NUMBERS = [word for word in sys.argv[1:] if word.isdecimal()]
RATE = int(NUMBERS[0]) if NUMBERS else 50_000
SECONDS = 5
FOLLOWERS = 3
SINGLE = "--single" in sys.argv
PARTS = {"rune.daemon": "runed", "keeper/__main__.py": "keeper"}

WRITER = """
import sys, time
rate, seconds = int(sys.argv[1]), int(sys.argv[2])
time.sleep(2)  # until everybody follows
step, number, begin = rate // 1000, 0, time.monotonic()
for tick in range(seconds * 1000):
    words = "of a service that has a lot to say about what it does"
    lines = "".join(f"line {number + i} {words}\\n" for i in range(step))
    sys.stdout.write(lines)
    sys.stdout.flush()
    number += step
    time.sleep(max(begin + (tick + 1) / 1000 - time.monotonic(), 0))
print(f"done after {time.monotonic() - begin:.2f} s, {time.process_time():.2f} s of processor", flush=True)
time.sleep(0 if sys.argv[3:] else 600)
"""


async def follow(address: str, token: str, *, stall: bool) -> None:
    """Follow to the writer's last line, and print how many lines came, how many in their place, and when."""
    ask = LogRequest(resource_target="chatty", follow=True, tail=-1, together=not SINGLE)
    came = wrong = 0
    last = ""
    client = Client(GrpcTransport(address, token=token))
    async with client, aclosing(client.stream(get_logs, ask)) as answers:
        async for answer in answers:
            for line in (answer.content, *answer.more):
                if line.startswith("done"):
                    last = line
                    break
                wrong += line.split(" ", 2)[1] != str(came)
                came += 1
            if stall and came:
                stall = not await asyncio.to_thread(sys.stdin.readline)
            if last:
                break
    own = time.process_time()
    print(json.dumps({"came": came, "wrong": wrong, "last": last, "cpu": own}))


@asynccontextmanager
async def follower(server: Runed, *words: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A client in a process of its own."""
    command = [sys.executable, __file__, "--follow", server.grpc, server.token, *words]
    command += ["--single"] if SINGLE else []
    child = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def told(child: asyncio.subprocess.Process) -> dict[str, object]:
    """What a follower saw; a stalled one is told to go on."""
    out, _ = await asyncio.wait_for(child.communicate(b"go\n"), 120)
    return json.loads(out)


def used(folder: Path) -> dict[str, float]:
    """Seconds of processor of runed and of the keeper of its workloads."""
    found = dict.fromkeys(PARTS.values(), 0.0)
    for one in psutil.process_iter(["cmdline", "cpu_times"]):
        words: list[str] = one.info["cmdline"] or []
        is_ours = any(word.startswith(str(folder)) for word in words)
        for word, part in PARTS.items():
            if is_ours and any(said.endswith(word) for said in words):
                found[part] += sum(one.info["cpu_times"][:2])
    return found


def piped() -> None:
    """Print what the same writer does into a pipe that `cat` empties to a file."""
    with tempfile.TemporaryFile() as file:
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(RATE), str(SECONDS), "end"], stdout=subprocess.PIPE
        ) as writer:
            cat = subprocess.Popen(["cat"], stdin=writer.stdout, stdout=file)
            cat.wait(60)
            writer.wait(60)
        file.seek(0)
        lines = file.read().decode().splitlines()
    print(f"plain pipe into cat: {len(lines) - 1} lines; writer: {lines[-1]}")


async def captured() -> None:
    """Print what the followers of a real runed saw, and what that took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        server = Runed(folder)
        await server.start("--dev")
        try:
            await server.cast("chatty", [sys.executable, "-c", WRITER, str(RATE), str(SECONDS)])
            async with follower(server, "--stall") as stalled, AsyncExitStack() as stack:
                three = [await stack.enter_async_context(follower(server)) for _ in range(FOLLOWERS)]
                before, begin = used(folder), time.monotonic()
                seen = await asyncio.gather(*map(told, three))
                after, took = used(folder), time.monotonic() - begin
                late = await told(stalled)
        finally:
            await server.end()
    print(f"runed, {FOLLOWERS} followers and one that stalls; writer: {seen[0]['last']}")
    for one in seen:
        print(
            f"  follower: {one['came']} lines, {one['wrong']} out of place, {one['cpu']:.2f} s of processor"
        )
    print(f"  stalled:  {late['came']} lines, {late['wrong']} out of place, once it went on")
    for part, seconds in after.items():
        print(f"  {part}: {seconds - before[part]:.2f} s of processor in {took:.1f} s")


def main() -> None:
    """Print both sides."""
    print(f"{RATE} lines/s for {SECONDS} s ({RATE * SECONDS} lines)")
    piped()
    asyncio.run(captured())


if __name__ == "__main__":
    if "--follow" in sys.argv:
        place = sys.argv.index("--follow")
        asyncio.run(follow(sys.argv[place + 1], sys.argv[place + 2], stall="--stall" in sys.argv))
    else:
        main()
