"""A server that plays recorded cases: a file of JSON, a list of them for one session."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mcp_upstream import answer, send, texts

Json = Any


def main() -> None:
    """Answers until its input ends; what a client asks for is noted on stderr."""
    cases: list[Json] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for line in sys.stdin:
        asked = json.loads(line)
        if "method" in asked and "id" in asked:
            play(asked, cases)


def play(asked: Json, cases: list[Json]) -> None:
    """One request."""
    match asked["method"]:
        case "initialize":
            told = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "serverInfo": {"name": "r", "version": "1"},
            }
            answer(asked, told | {"instructions": cases[0].get("instructions", "Ask for what you need.")})
        case "tools/list":
            answer(
                asked, {"tools": [case[form] for case in cases for form in ("tool", "twin") if form in case]}
            )
        case "tools/call":
            params = asked["params"]
            sys.stderr.write(f"CALLED {params['name']}\n")
            found = (case for case in cases if case["tool"]["name"] == params["name"])
            answer(asked, texts(next(found).get("result", "done")))
        case "ping" if "ask" in cases[0]:
            send({"jsonrpc": "2.0", "id": "asked-back", **cases[0]["ask"]})
            answer(asked, {})
        case _:
            answer(asked, {})


if __name__ == "__main__":
    main()
