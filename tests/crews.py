"""Runs crews under a Shield, in an environment of their own, and prints what became of each as JSON."""

# CrewAI lives in an environment of its own, where no type checker looks.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ |= {
    "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false",
}  # fmt: skip

from crewai import LLM, Agent, Crew, Task
from crewai.tools import BaseTool

from attacks import HARMFUL, HARMLESS, KEY, ORDER, POISONED, Tool
from models import Provider, Turn, provider
from rune import Shield, ShieldBlockedError
from rune.errors import FailedPrecondition
from rune.integrations.crewai import shield_crew

Json = dict[str, Any]


class Run(BaseTool):
    """The tool `run`."""

    name: str = "run"
    description: str = "Run a command and return what it says."
    acts: Any = None

    def _run(self, command: str) -> str:
        return self.acts.run(command)


def crew(model: Provider, tool: Tool, **more: Any) -> Any:
    chat = LLM(model="openai/gpt-4o", base_url=f"{model.url}/v1", api_key="k")
    agent = Agent(role="clerk", goal="help", backstory="You help.", llm=chat, tools=[Run(acts=tool)])
    task = Task(description="Do this: {wish}", expected_output="an answer", agent=agent)
    return Crew(agents=[agent], tasks=[task], **more)


def story(ways: str, wish: str, *turns: Turn | str, on_block: Any = "raise", **more: Any) -> Json:
    """What happened when a crew was run so."""
    tool, told = Tool(), Json()
    with provider() as model:
        model.say(*turns)
        shield = Shield(events_enabled=False)
        plain = crew(model, tool, **more)
        ours = shield_crew(plain, shield=shield, on_block=on_block)
        told["is_a_crew"] = isinstance(ours, Crew) and type(plain) is Crew
        try:
            told["said"] = run(ours, ways, wish)
        except ShieldBlockedError as error:
            told["blocked"] = error.message
        except FailedPrecondition as error:
            told["refused"] = error.message
        told["asked"] = len(model.asked)
        told["model_read"] = json.dumps(model.asked[-1]["messages"]) if model.asked else ""
    return told | {"ran": tool.ran}


def run(ours: Any, ways: str, wish: str) -> str:
    match ways:
        case "kickoff_for_each":
            return str(ours.kickoff_for_each([{"wish": wish}])[0].raw)
        case "kickoff_async" | "akickoff":
            return str(asyncio.run(getattr(ours, ways)({"wish": wish})).raw)
        case _:
            return str(ours.kickoff({"wish": wish}).raw)


def main() -> None:
    """Every story by its name."""
    ways = ("kickoff", "kickoff_for_each", "kickoff_async", "akickoff")
    told = {f"secret by {way}": story(way, "hi", f"the key is {KEY}") for way in ways}
    told["harmless"] = story("kickoff", "hi", HARMLESS, "all done")
    told["order"] = story("kickoff", ORDER, "fine")
    told["call"] = story("kickoff", "hi", HARMFUL, "fine")
    told["call told"] = story("kickoff", "hi", HARMFUL, "then I will not", on_block="tool_error")
    told["result"] = story("kickoff", "hi", POISONED, "fine")
    told["result told"] = story("kickoff", "hi", POISONED, "nothing there", on_block="tool_error")
    told["streaming"] = story("kickoff", "hi", "fine", stream=True)
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
