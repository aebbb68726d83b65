"""A model provider on the loopback: speaks the wire formats of OpenAI and Anthropic, says what it is told to.

Each request takes the next turn of the script; texts and arguments are streamed in pieces of a few letters.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

PIECE = 3
Json = dict[str, Any]
Calls = tuple[tuple[str, Json], ...]


class Turn(NamedTuple):
    """What the model says next."""

    text: str = ""
    calls: Calls = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    wait: Callable[[], object] | None = None
    """Called before anything is answered, as a slow provider would take its time."""


class Provider:
    """The script, and every request that came."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = deque(turns)
        self.asked: list[Json] = []
        self.sent: list[str] = []
        """Every piece of text that has left over a stream."""
        self.url = ""
        self.sockets: list[socket.socket] = []
        self.answers: Callable[[Json], Turn] | None = None
        """Answers by what was asked, in the place of the script."""

    def say(self, *turns: Turn | str) -> None:
        """Adds to the script."""
        self.turns.extend(Turn(turn) if isinstance(turn, str) else turn for turn in turns)


@contextmanager
def provider(*turns: Turn) -> Generator[Provider]:
    """A provider on a free port; `url` is what goes before /v1."""
    made = Provider(*turns)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="provider")
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        for sock in made.sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()


class _Quiet(BaseHTTPRequestHandler):
    """Says nothing, and minds nobody who stops reading."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _handler(script: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(_Quiet):
        def setup(self) -> None:
            super().setup()
            script.sockets.append(self.connection)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            script.asked.append(body)
            turn = script.answers(body) if script.answers is not None else script.turns.popleft()
            if turn.wait is not None:
                turn.wait()
            self._answer(turn, body)

        def _answer(self, turn: Turn, body: Json) -> None:
            whole, events = _WIRES[self.path.partition("?")[0]]
            if turn.status != 200:
                self._send(turn, json.dumps({"error": {"message": turn.text, "type": "e"}}).encode())
            elif body.get("stream"):
                self._stream(events(turn))
            else:
                self._send(turn, json.dumps(whole(turn)).encode())

        def _send(self, turn: Turn, body: bytes) -> None:
            self.send_response(turn.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")  # a kept socket would have to be closed by the test
            self.send_header("Content-Length", str(len(body)))
            for name, value in turn.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, events: Iterable[tuple[str, str]]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            for name, data in events:
                line = (f"event: {name}\n" if name else "") + f"data: {data}\n\n"
                self.wfile.write(f"{len(line.encode()):x}\r\n{line}\r\n".encode())
                script.sent.append(data)
            self.wfile.write(b"0\r\n\r\n")

    return Handler


def pieces(text: str) -> Iterator[str]:
    """The text as it is streamed."""
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


# OpenAI's chat completions

_CHAT: Json = {"id": "chatcmpl-1", "created": 1, "model": "scripted"}
_USED: Json = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def _chat(turn: Turn) -> Json:
    calls = [
        {
            "id": f"call_{name}_{n}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        for n, (name, args) in enumerate(turn.calls)
    ]  # fmt: skip
    message = {"role": "assistant", "content": turn.text or None, **({"tool_calls": calls} if calls else {})}
    finish = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return {**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _USED}


def _chat_events(turn: Turn) -> Iterator[tuple[str, str]]:
    def chunk(delta: Json, finish: str | None = None) -> tuple[str, str]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return "", json.dumps({**_CHAT, "object": "chat.completion.chunk", "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(turn.text):
        yield chunk({"content": piece})
    for number, (name, args) in enumerate(turn.calls):
        function = {"name": name, "arguments": ""}
        call = {"index": number, "id": f"call_{name}_{number}", "type": "function", "function": function}
        yield chunk({"tool_calls": [call]})
        for piece in pieces(json.dumps(args)):
            yield chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield chunk({}, "tool_calls" if turn.calls else "stop")
    yield "", "[DONE]"


# OpenAI's responses


def _message(text: str) -> Json:
    part: Json = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _function_call(number: int, name: str, args: Json) -> Json:
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{name}_{number}",
        "name": name,
        "arguments": json.dumps(args),
        "status": "completed",
    }


def _response(turn: Turn) -> Json:
    output = [_message(turn.text)] if turn.text else []
    output += [_function_call(number, *call) for number, call in enumerate(turn.calls)]
    usage = {
        "input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "scripted", "status": "completed",
        "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage,
        "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1.0,
        "top_p": 1.0,
    }  # fmt: skip


def _response_events(turn: Turn) -> Iterator[tuple[str, str]]:
    whole = _response(turn)
    count = iter(range(1_000_000))

    def event(kind: str, **fields: Any) -> tuple[str, str]:
        return kind, json.dumps({"type": kind, "sequence_number": next(count), **fields})

    yield event("response.created", response={**whole, "output": [], "status": "in_progress"})
    for index, item in enumerate(whole["output"]):
        if item["type"] == "message":
            yield from _message_events(event, index, item)
        else:
            yield from _call_events(event, index, item)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=whole)


Event = Callable[..., tuple[str, str]]


def _message_events(event: Event, index: int, item: Json) -> Iterator[tuple[str, str]]:
    part = item["content"][0]
    at: Json = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield event("response.output_item.added", output_index=index, item={**item, "content": []})
    yield event("response.content_part.added", **at, part={**part, "text": ""})
    for piece in pieces(part["text"]):
        yield event("response.output_text.delta", **at, delta=piece, logprobs=[])
    yield event("response.output_text.done", **at, text=part["text"], logprobs=[])
    yield event("response.content_part.done", **at, part=part)


def _call_events(event: Event, index: int, item: Json) -> Iterator[tuple[str, str]]:
    at: Json = {"item_id": item["id"], "output_index": index}
    yield event("response.output_item.added", output_index=index, item={**item, "arguments": ""})
    for piece in pieces(item["arguments"]):
        yield event("response.function_call_arguments.delta", **at, delta=piece)
    done = "response.function_call_arguments.done"
    yield event(done, **at, name=item["name"], arguments=item["arguments"])


# Anthropic's messages


def _blocks(turn: Turn) -> list[Json]:
    blocks: list[Json] = [{"type": "text", "text": turn.text}] if turn.text else []
    calls = enumerate(turn.calls)
    return blocks + [{"type": "tool_use", "id": f"toolu_{n}", "name": c[0], "input": c[1]} for n, c in calls]


def _anthropic(turn: Turn) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": _blocks(turn),
        "stop_reason": "tool_use" if turn.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }


def _anthropic_events(turn: Turn) -> Iterator[tuple[str, str]]:
    def event(kind: str, **fields: Any) -> tuple[str, str]:
        return kind, json.dumps({"type": kind, **fields})

    whole = _anthropic(turn)
    yield event("message_start", message={**whole, "content": [], "stop_reason": None})
    for index, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        empty: Json = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield event("content_block_start", index=index, content_block=empty)
        for piece in pieces(block["text"] if is_text else json.dumps(block["input"])):
            delta = {"type": "text_delta", "text": piece}
            if not is_text:
                delta = {"type": "input_json_delta", "partial_json": piece}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": 4})
    yield event("message_stop")


_WIRES: dict[str, tuple[Callable[[Turn], Json], Callable[[Turn], Iterator[tuple[str, str]]]]] = {
    "/v1/chat/completions": (_chat, _chat_events),
    "/v1/responses": (_response, _response_events),
    "/v1/messages": (_anthropic, _anthropic_events),
}
