"""A guarded server without processes: messages go to a warden as the relay would hand them over."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rune.mcp.proxy import messages
from rune.mcp.proxy.listing import Listing
from rune.mcp.proxy.warden import Outcome, Warden
from rune.shield.shield import Shield
from rune.toolbox.pins import Pins

Json = Any
NOW = "2026-01-01T00:00:00+00:00"


class Guarded:
    """One session with one server."""

    def __init__(self, folder: Path, *, name: str = "tested", policy: str = "") -> None:
        given: dict[str, Any] = {"local_policies_path": policy} if policy else {}
        self.shield = Shield(events_enabled=False, **given)
        self.pins = Pins(folder, name, (name,), now=lambda: NOW)
        self.said: list[str] = []
        context = {"server": name, "session_id": "s-1"}
        self.warden = Warden(
            self.shield,
            Listing(self.shield, self.pins, context=context, say=self.said.append),
            context=context,
        )
        self._ids = itertools.count(1)

    def ask(self, method: str, params: Json = None) -> Outcome:
        """A request of the client's; its id is the newest."""
        message: Json = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params or {}}
        return self.warden.from_client(_wire(message))

    def exchange(self, method: str, params: Json, result: Json) -> Json:
        """What the client gets for a request that the server answers so."""
        sent = self.ask(method, params)
        if sent.onward is None:
            return sent.back
        answered = {"jsonrpc": "2.0", "id": sent.onward["id"], "result": result}
        return self.warden.from_server(_wire(answered)).onward

    def shown(self, tools: Iterable[Json]) -> list[str]:
        """The names of the tools that the client sees."""
        answer = self.exchange("tools/list", {}, {"tools": list(tools)})
        return [tool["name"] for tool in answer["result"]["tools"]]

    def call(self, tool: str, arguments: Json, result: str = "done") -> Json:
        """The result of a call, as the client gets it."""
        content = {"content": [{"type": "text", "text": result}]}
        return self.exchange("tools/call", {"name": tool, "arguments": arguments}, content)["result"]


def definition(tool: Mapping[str, Json]) -> Json:
    """A tool with everything that the protocol asks for."""
    return {"inputSchema": {"type": "object"}, **tool}


def is_blocked(result: Json) -> bool:
    """The call was stopped, and says by whom."""
    return bool(result.get("isError")) and "Rune blocked" in result["content"][0]["text"]


def policy_file(folder: Path, policy: Json) -> str:
    """A policy where a Shield finds it; empty for none."""
    if not policy:
        return ""
    path = folder / "policy.yaml"
    path.write_bytes(msgspec.json.encode(policy))
    return str(path)


def _wire(message: Json) -> Json:
    return messages.decode(messages.encode(message))
