"""A real `rune-mcp --upstream` between pipes: what passes, what is stopped, and how both ends end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from promises import promise
from rune.api.security import approvals
from runed import Runed, runed
from system.mcp_guards import PATIENCE, guard
from system.mcp_upstream import texts

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
Json = Any


async def test_messages_pass_and_the_end_of_input_ends_both(tmp_path: Path) -> None:
    async with guard(tmp_path) as here:
        assert (await here.ask("ping"))["result"] == {}
        assert await here.call("say", text="hello \u2603 \x00") == "hello \u2603 \x00"
        code, said = await here.end()
    assert code == 0
    assert "RUNE_API_KEY is not set" in said


async def test_the_guards_own_credentials_are_not_handed_to_the_server(tmp_path: Path) -> None:
    async with guard(
        tmp_path, RUNE_API_KEY="rune_test_x", RUNE_L3_API_KEY="k", RUNE_TOKEN="t", RUNE_MASTER_KEY="m",
        RUNE_EVENTS_ENABLED="false", MINE="1",
    ) as here:  # fmt: skip
        names = json.loads(await here.call("environment"))
    assert "MINE" in names
    assert not {"RUNE_API_KEY", "RUNE_L3_API_KEY", "RUNE_TOKEN", "RUNE_MASTER_KEY"} & set(names)


@promise("mcp.crash")
@pytest.mark.parametrize(("tool", "code"), [("crash", 3), ("die", 128 + signal.SIGKILL)])
async def test_a_server_that_crashes_ends_the_guard_with_its_code(
    tmp_path: Path, tool: str, code: int
) -> None:
    async with guard(tmp_path) as here:
        waits = here.begin("tools/call", {"name": "wait"})
        dies = here.begin("tools/call", {"name": tool})
        answers = [await here.read(), await here.read()]
        assert {answer["id"] for answer in answers} == {waits, dies}
        assert all(f"exit code {code}" in answer["error"]["message"] for answer in answers)
        assert await here.process.wait() == code
        assert here.process.stderr
        assert ("the server crashes now" in (await here.process.stderr.read()).decode()) == (tool == "crash")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_and_then_the_guard(tmp_path: Path, number: signal.Signals) -> None:
    async with guard(tmp_path) as here:
        await here.ask("ping")
        here.process.send_signal(number)
        assert await here.process.wait() == 0


async def test_a_server_that_will_not_end_is_killed(tmp_path: Path) -> None:
    async with guard(tmp_path) as here:
        assert "nothing" in await here.call("stubborn")
        assert (await here.end())[0] == 0


async def test_lines_that_are_no_messages_are_left_out(tmp_path: Path) -> None:
    async with guard(tmp_path) as here:
        assert await here.call("garbage") == "after the garbage"
        here.write(b"nor is this one")
        assert (await here.read())["error"]["code"] == -32700
        _, said = await here.end()
    assert said.count("a line that is no message") == 3


async def test_a_message_past_the_limit_ends_the_session_and_says_so(tmp_path: Path) -> None:
    async with guard(tmp_path, "--max-message-mib", "1") as here:
        assert len(await here.call("large", bytes=900_000)) == 900_000
        answer = await here.ask("tools/call", {"name": "large", "arguments": {"bytes": 2 << 20}})
        assert "larger than 1 MiB" in answer["error"]["message"]
        code, _ = await here.end()
    assert code != 0


async def test_a_server_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    async with guard(tmp_path, command=("/no/such/server",)) as here:
        code, said = await here.end()
    assert code == 4
    assert "'/no/such/server' cannot be started" in said


async def test_messages_in_one_line_are_judged_one_by_one(tmp_path: Path) -> None:
    bad = {"name": "say", "arguments": {"text": "token ghp_Zq7Xw2Pl9Kd3Vn5Bt8Rm1Yc4Hs6Jf0Ga1Ue7"}}
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": bad},
    ]
    async with guard(tmp_path) as here:
        here.write(json.dumps(batch).encode())
        answers = [await here.read(), await here.read()]
    flat = [one for answer in answers for one in listed(answer)]
    by_id: dict[int, Json] = {answer["id"]: answer["result"] for answer in flat}
    assert by_id[1] == {}
    assert by_id[2]["isError"]


def listed(answer: Json) -> list[Json]:
    """The messages of one line."""
    return cast("list[Json]", answer) if isinstance(answer, list) else [answer]


POLICY = """\
version: "1.0"
mcp: {servers: {tested: {allowed_tools: [say, "w*"], blocked_tools: [wait]}, another: {blocked_tools: [say]}}}
"""


@promise("mcp.policy")
async def test_tools_that_the_policy_blocks_are_neither_shown_nor_called(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    async with guard(tmp_path, "--policy", str(policy)) as here:
        assert await here.tools() == ["say"]
        assert await here.call("say", text="allowed") == "allowed"
        assert "mcp.tested.allowed_tools" in await here.call("crash")
        assert "Rune blocked this call of 'wait'" in await here.call("wait")


@promise("mcp.pins")
async def test_a_tool_that_changes_waits_until_somebody_accepts_it(tmp_path: Path) -> None:
    async with guard(tmp_path, RUGPULL="1") as here:
        assert "say" in await here.tools()
        assert "say" not in await here.tools()
        assert "its definition is not the one of" in await here.call("say", text="hello")
        await cli(tmp_path, "mcp", "pins", "show", "tested")
        assert await cli(tmp_path, "mcp", "pins", "accept", "tested", "say") == "accepted: say\n"
        assert await here.call("say", text="hello") == "hello"
        assert "say" in await here.tools()
    pins = list((tmp_path / ".rune" / "mcp-pins").glob("*.json"))
    assert [path.stat().st_mode & 0o777 for path in pins] == [0o600]


async def cli(home: Path, *words: str) -> str:
    """What a command of the CLI prints."""
    pipe = asyncio.subprocess.PIPE
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rune.cli.main", *words, stdout=pipe, env={"HOME": str(home)}
    )
    out, _ = await done.communicate()
    assert done.returncode == 0
    return out.decode()


APPROVAL = """\
version: "1.0"
rules:
  - {name: ask-first, type: tool_denylist, tools: [say, environment, large], action: require_approval}
"""


@promise("mcp.approvals")
async def test_while_a_person_is_asked_about_one_call_others_go_on(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(APPROVAL, encoding="utf-8")
    async with runed(tmp_path / "data") as server:
        environ: dict[str, Any] = {
            "RUNE_API_KEY": server.api_key, "RUNE_ENDPOINT": f"http://{server.http}",
            "RUNE_POLICY_SYNC_INTERVAL_SECONDS": "0",
        }  # fmt: skip
        async with guard(tmp_path, "--policy", str(policy), **environ) as here:
            given = {"say": {"text": "paid"}, "environment": {}, "large": {"bytes": 1}}
            ids = {
                tool: here.begin("tools/call", {"name": tool, "arguments": it}) for tool, it in given.items()
            }
            assert (await here.ask("ping"))["result"] == {}
            asked = {each.tool: each.id for each in await waiting(server, len(given))}
            here.write(json.dumps(cancelled(ids["large"])).encode())
            assert (await here.ask("ping"))["result"] == {}
            for tool in ("large", "say"):
                await server.call(approvals.approve, approvals.ApproveCallRequest(approval_id=asked[tool]))
            answer = await here.read()
            assert (answer["id"], answer["result"]) == (ids["say"], texts("paid"))
            await server.call(
                approvals.deny, approvals.DenyCallRequest(approval_id=asked["environment"], note="no")
            )
            answer = await here.read()
            assert (answer["id"], answer["result"]["isError"]) == (ids["environment"], True)
            assert "denied by root: no" in answer["result"]["content"][0]["text"]
            assert (await here.end())[0] == 0


def cancelled(identity: int) -> Json:
    """What a client says that does not wait any more."""
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": identity}}


async def waiting(server: Runed, count: int) -> list[approvals.Approval]:
    """The calls that wait for a person, oldest first, once there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await server.call(approvals.list_, approvals.ListApprovalsRequest())).approvals
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


@promise("mcp.events")
async def test_what_is_blocked_is_an_alert_at_the_control_plane(tmp_path: Path) -> None:
    server = Runed(tmp_path / "data")
    await server.start("--dev")
    environ: dict[str, Any] = {
        "RUNE_API_KEY": server.api_key,
        "RUNE_ENDPOINT": f"http://{server.http}",
        "RUNE_EVENT_FLUSH_INTERVAL_SECONDS": "0.1",
        "RUGPULL": "1",
    }
    try:
        async with guard(tmp_path, **environ) as here:
            assert "Rune blocked" in await here.call("say", text="ghp_Zq7Xw2Pl9Kd3Vn5Bt8Rm1Yc4Hs6Jf0Ga1Ue7")
            await here.tools()
            await here.tools()
            assert (await here.end())[0] == 0
        found = await alerts(server, "mcp-tested", at_least=2)
        assert {alert["agentId"] for alert in found} == {"mcp-tested"}
    finally:
        await server.end()


async def alerts(server: Runed, agent: str, *, at_least: int) -> list[Json]:
    """The open alerts of an agent, once there are so many."""
    headers = {"x-rune-key": server.api_key}
    async with httpx.AsyncClient(headers=headers) as http, asyncio.timeout(PATIENCE):
        while True:
            answer = await http.get(f"http://{server.http}/v1/alerts?agent_id={agent}")
            found: list[Json] = answer.json()["alerts"]
            if len(found) >= at_least:
                return found
            await asyncio.sleep(0.1)
