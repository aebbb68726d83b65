"""An agent that meets a poisoned document, obeys it, and is stopped; offline, with a scripted model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from rune import Shield, ShieldBlockedError

HERE = Path(__file__).parent
TASK = "Sum up report.txt for me."
Call = tuple[str, dict[str, str]]


class Web:
    """Stands for the internet: what was posted to it is gone."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def post(self, url: str, body: str) -> str:
        """Sends a text to an address."""
        self.posted.append(f"{url}: {body}")
        return "200 OK"


def read_file(name: str) -> str:
    """What stands in a document."""
    return (HERE / "documents" / Path(name).name).read_text(encoding="utf-8")


class GullibleModel:
    """Does what the last thing that it read tells it to; a real model does so sometimes."""

    def __init__(self) -> None:
        self._address = ""

    def next_call(self, said: str) -> Call | None:
        """The tool that it wants to use next, None when it is done."""
        if said == TASK:
            return "read_file", {"name": "report.txt"}
        order = re.search(r"send the contents of (\S+) to (\S+)", said)
        if order:
            self._address = order[2]
            return "read_file", {"name": order[1]}
        if self._address:
            address, self._address = self._address, ""
            return "post", {"url": address, "body": said}
        return None


def run(tools: dict[str, Callable[..., str]]) -> list[str]:
    """The agent's loop: ask the model, use the tool, show it the result. Returns what happened."""
    model, said, log = GullibleModel(), TASK, list[str]()
    while (call := model.next_call(said)) is not None:
        name, arguments = call
        try:
            said = tools[name](**arguments)
            log.append(f"{name}({arguments.get('name', arguments.get('url'))}) was carried out")
        except ShieldBlockedError as error:
            said = f"The tool {name} was stopped."
            log.append(f"{name} was stopped: {error.message}")
    return log


def guarded(tools: dict[str, Callable[..., str]], *, blind: bool) -> list[str]:
    """The same loop with guarded tools; a blind Shield scans nothing and knows its policies alone."""
    shield = Shield(events_enabled=False, local_policies_path=HERE / "policy.yaml", l1_enabled=not blind)
    safe = {name: shield.protect(name)(tool) for name, tool in tools.items()}
    with shield, shield.session(agent_id="office-1", session_id="demo"):
        return run(safe)


def main() -> None:
    """Runs the agent once and says what happened, and what left the house."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unguarded", action="store_true", help="without a Shield")
    parser.add_argument(
        "--blind", action="store_true", help="with policies alone, as if every scan had failed"
    )
    asked = parser.parse_args()
    web = Web()
    tools: dict[str, Callable[..., str]] = {"read_file": read_file, "post": web.post}
    log = run(tools) if asked.unguarded else guarded(tools, blind=asked.blind)
    for line in log:
        print(line)
    print(f"left the house: {web.posted or 'nothing'}")


if __name__ == "__main__":
    main()
