"""`rune run -- python agent.py`: a program whose models and tools are guarded, unchanged."""

from __future__ import annotations

import os
import shutil
from importlib.resources import files

import click

from rune.errors import NotFound


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: rune run --agent-id support-bot -- python agent.py",
)
@click.option(
    "--agent-id", default="", metavar="ID", help="What the agent is called. [RUNE_DEFAULT_AGENT_ID]"
)
@click.option(
    "--on-block",
    type=click.Choice(["raise", "tool_error"]),
    help="What a blocked tool call is: an error, or an answer to the model. [RUNE_RUN_ON_BLOCK]",
)
@click.option(
    "--http-path",
    "http_paths",
    multiple=True,
    metavar="PATH",
    help="Judge requests to FastAPI applications on such paths; repeatable. [RUNE_RUN_HTTP_PATHS]",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    command: tuple[str, ...], *, agent_id: str, on_block: str | None, http_paths: tuple[str, ...]
) -> None:
    """Run a Python program with its models and tools under a Shield, unchanged.

    Guarded are the OpenAI and Anthropic clients, LangChain and LangGraph, CrewAI, the OpenAI Agents SDK and
    Pydantic AI, each as the program loads it.

    The Shield is set up by the environment (RUNE_API_KEY, RUNE_ENDPOINT and the rest); without a key it works
    alone, with the policies of RUNE_LOCAL_POLICIES_PATH. The program takes the place of this command.
    """
    program = shutil.which(command[0])
    if program is None:
        raise NotFound(f"there is no program {command[0]!r}")
    hook = str(files("rune.shield") / "hook")
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([hook, *others]), "RUNE_RUN": str(os.getpid())}
    if agent_id:
        env["RUNE_DEFAULT_AGENT_ID"] = agent_id
    if on_block:
        env["RUNE_RUN_ON_BLOCK"] = on_block
    if http_paths:
        env["RUNE_RUN_HTTP_PATHS"] = ",".join(http_paths)
    os.execve(program, list(command), env)  # noqa: S606 - that is what it is for
