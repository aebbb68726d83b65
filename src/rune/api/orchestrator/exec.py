"""Exec: a command inside a running instance, with its input, output, terminal and signals."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import Status
from rune.api.fields import Int32, Message, NamespaceName, Text, Uint32, later, one_of
from rune.api.operation import Effect, Http, Operation, Rate, Streaming
from rune.api.orchestrator.specs import Argument, Env


class TerminalSize(Message):
    """Columns and rows."""

    width: Uint32 = 0
    height: Uint32 = 0


class ExecInitRequest(Message):
    """What to run and where: in one instance, or in the first ready one of a service."""

    service_name: Annotated[Text | None, one_of("target")] = None
    instance_id: Annotated[Text | None, one_of("target")] = None
    namespace: NamespaceName = ""
    command: list[Argument] = []
    env: Env = {}
    working_dir: Text = ""
    tty: bool = False
    terminal_size: TerminalSize | None = None
    debug: Annotated[bool, later("exec into an instance that failed is not part of this release")] = False


class Signal(Message):
    """A signal by name, with or without SIG."""

    name: Text = ""


class ExecRequest(Message):
    """The first message says what to run; the others feed it. The end of the stream closes its stdin."""

    init: Annotated[ExecInitRequest | None, one_of("request")] = None
    stdin: Annotated[Annotated[bytes, Meta(max_length=1 << 20)] | None, one_of("request")] = None
    resize: Annotated[TerminalSize | None, one_of("request")] = None
    signal: Annotated[Signal | None, one_of("request")] = None


class ExitInfo(Message):
    """How the command ended."""

    code: Int32 = 0
    """128 + the signal's number when it was killed."""
    signaled: bool = False
    signal: str = ""


class ExecResponse(Message):
    """A piece of what the command wrote, or how it ended."""

    stdout: Annotated[bytes | None, one_of("response")] = None
    stderr: Annotated[bytes | None, one_of("response")] = None
    status: Annotated[Status | None, one_of("response")] = None
    exit: Annotated[ExitInfo | None, one_of("response")] = None


class RunCommandRequest(Message):
    """A command to run once, without input. `target` is a service or an instance."""

    target: Annotated[str, Meta(min_length=1, max_length=256)]
    namespace: NamespaceName = ""
    command: list[Argument] = []
    env: Env = {}
    working_dir: Text = ""


stream = Operation(
    service="ExecService",
    method="StreamExec",
    request=ExecRequest,
    response=ExecResponse,
    summary="Run a command inside an instance, interactively.",
    resource="exec",
    verb="exec",
    streaming=Streaming.BOTH,
    effect=Effect.CHANGE,
    rate=Rate.STREAM,
)
run = Operation(
    service="ExecService",
    method="RunCommand",
    request=RunCommandRequest,
    response=ExecResponse,
    summary="Run a command inside an instance and stream what it writes.",
    resource="exec",
    verb="exec",
    http=Http(verb="POST", path="/v1/namespaces/{namespace}/exec/{target}", body="*"),
    streaming=Streaming.SERVER,
    effect=Effect.CHANGE,
    rate=Rate.STREAM,
)
