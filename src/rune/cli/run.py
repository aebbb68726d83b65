"""`rune run -- python agent.py`: a program whose model clients are guarded, without a line changed in it."""

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
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(agent_id: str, command: tuple[str, ...]) -> None:
    """Run a Python program with its OpenAI and Anthropic clients under a Shield, unchanged.

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
    os.execve(program, list(command), env)  # noqa: S606 - that is what it is for
