"""The guarded clients of OpenAI and Anthropic, against a provider that speaks their wire formats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message
from openai import AsyncOpenAI, OpenAI, Stream
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from attacks import BLAND, HARMFUL, HARMLESS, KEY, LEAK, ORDER
from controlplane import Standin
from models import Provider, Turn
from promises import promise
from rune import Shield, ShieldBlockedError
from rune.errors import Unimplemented
from rune.integrations import anthropic, openai

pytestmark = promise("shield.guards")

Ask = Callable[..., Any]
KINDS = ("chat", "responses", "messages")


class Guarded:
    """A guarded client of either kind, and the three ways to ask it."""

    def __init__(self, model: Provider, shield: Shield) -> None:
        self.openai = openai.shield_client(
            OpenAI(base_url=f"{model.url}/v1", api_key="k"), shield=shield, agent_id="clerk"
        )
        self.anthropic = anthropic.shield_client(
            Anthropic(base_url=model.url, api_key="k"), shield=shield, agent_id="clerk"
        )

    def asks(self, kind: str, text: str = "hi", **more: Any) -> Any:
        said: Any = [{"role": "user", "content": text}]
        one: Any = self.openai
        two: Any = self.anthropic
        match kind:
            case "chat":
                return one.chat.completions.create(model="m", messages=said, **more)
            case "responses":
                return one.responses.create(model="m", input=text, **more)
            case _:
                return two.messages.create(model="m", max_tokens=9, messages=said, **more)


@pytest.fixture
def guarded(model: Provider, shield: Shield) -> Iterator[Guarded]:
    made = Guarded(model, shield)
    yield made
    made.openai.close()
    made.anthropic.close()


def text_of(answer: Any) -> str:
    """What an answer says, of whichever kind."""
    match answer:
        case ChatCompletion():
            return answer.choices[0].message.content or ""
        case Response():
            return answer.output_text
        case _:
            return "".join(block.text for block in answer.content if block.type == "text")


def said_by(event: Any) -> str:
    """The text that an event of a stream adds."""
    if hasattr(event, "choices"):
        return event.choices[0].delta.content or ""
    if getattr(event, "type", "") == "response.output_text.delta":
        return event.delta
    return getattr(getattr(event, "delta", None), "text", "") or ""


@promise("shield.client")
@pytest.mark.parametrize(
    ("kind", "answer"), [("chat", ChatCompletion), ("responses", Response), ("messages", Message)]
)
def test_what_comes_back_is_the_librarys_own(
    guarded: Guarded, model: Provider, kind: str, answer: type[Any]
) -> None:
    model.say("hello")
    found = guarded.asks(kind)
    assert type(found) is answer
    assert text_of(found) == "hello"
    assert isinstance(guarded.openai, OpenAI)
    assert isinstance(guarded.anthropic, Anthropic)


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_in_the_input_never_reaches_the_model(guarded: Guarded, model: Provider, kind: str) -> None:
    with pytest.raises(ShieldBlockedError):
        guarded.asks(kind, ORDER)
    assert not model.asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_in_the_answer_never_reaches_the_program(
    guarded: Guarded, model: Provider, kind: str
) -> None:
    model.say(f"the key is {KEY}")
    with pytest.raises(ShieldBlockedError) as caught:
        guarded.asks(kind)
    assert caught.value.scan_result is not None
    assert caught.value.scan_result.secrets_detected
    assert KEY not in str(caught.value)


@promise("shield.tools")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_harmful_call_never_reaches_the_program(
    guarded: Guarded, model: Provider, kind: str, *, stream: bool
) -> None:
    model.say(HARMFUL)
    seen: list[str] = []
    with pytest.raises(ShieldBlockedError, match="shell separator"):
        answer = guarded.asks(kind, stream=stream)
        seen += [event.model_dump_json() for event in answer]
    assert "evil.example" not in "".join(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_harmless_call_passes_and_is_judged_once(
    guarded: Guarded, model: Provider, shield: Shield, kind: str
) -> None:
    model.say(HARMLESS)
    events = list(guarded.asks(kind, stream=True))
    assert len(events) > 3
    assert shield.stats["decisions_total"] == 1


@promise("shield.stream")
@pytest.mark.parametrize("kind", KINDS)
def test_no_letter_of_a_secret_slips_out_of_a_stream(guarded: Guarded, model: Provider, kind: str) -> None:
    model.say(LEAK)
    seen: list[Any] = []
    with pytest.raises(ShieldBlockedError):
        seen.extend(guarded.asks(kind, stream=True))
    text = "".join(map(said_by, seen))
    assert text
    assert BLAND.startswith(text)
    assert "ghp" not in "".join(event.model_dump_json() for event in seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_stream_arrives_whole_and_in_order(guarded: Guarded, model: Provider, kind: str) -> None:
    model.say(BLAND)
    assert "".join(map(said_by, guarded.asks(kind, stream=True))) == BLAND


def test_a_stream_stays_the_librarys_own_and_can_be_left(guarded: Guarded, model: Provider) -> None:
    model.say(BLAND)
    with guarded.asks("chat", stream=True) as stream:
        first: Any = next(stream)
        assert type(stream) is Stream
        assert first.object == "chat.completion.chunk"


def test_the_helpers_that_build_on_streams_are_guarded(guarded: Guarded, model: Provider) -> None:
    model.say(LEAK, LEAK)
    seen: list[str] = []
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with (
        pytest.raises(ShieldBlockedError),
        guarded.anthropic.messages.stream(max_tokens=9, **asked) as stream,
    ):
        seen.extend(stream.text_stream)
    with pytest.raises(ShieldBlockedError), guarded.openai.chat.completions.stream(**asked) as stream:
        seen.extend(str(event) for event in stream)
    assert "ghp" not in "".join(seen)


def test_raw_answers_are_judged_and_raw_streams_refused(guarded: Guarded, model: Provider) -> None:
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    raw: Any = guarded.openai.chat.completions.with_raw_response
    model.say("hello", KEY, KEY)
    assert text_of(raw.create(**asked).parse()) == "hello"
    with pytest.raises(ShieldBlockedError):
        raw.create(**asked)
    with pytest.raises(ShieldBlockedError):
        guarded.anthropic.messages.with_raw_response.create(max_tokens=9, **asked)
    with (
        pytest.raises(Unimplemented, match="with_raw_response"),
        guarded.openai.chat.completions.with_streaming_response.create(**asked),
    ):
        pass


def test_a_client_that_is_made_from_a_guarded_one_is_guarded(guarded: Guarded, model: Provider) -> None:
    with pytest.raises(ShieldBlockedError):
        guarded.openai.with_options(timeout=3).responses.create(model="m", input=ORDER)
    with pytest.raises(ShieldBlockedError):
        guarded.anthropic.with_options(timeout=3).messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": ORDER}]
        )
    assert not model.asked


def test_the_given_client_stays_as_it_is(model: Provider, shield: Shield) -> None:
    with OpenAI(base_url=f"{model.url}/v1", api_key="k") as plain:
        assert plain.chat.completions is not None
        ours = openai.shield_client(plain, shield=shield)
        model.say(KEY)
        found = plain.chat.completions.create(model="m", messages=[{"role": "user", "content": ORDER}])
        assert text_of(found) == KEY
        with pytest.raises(ShieldBlockedError):
            ours.chat.completions.create(model="m", messages=[{"role": "user", "content": ORDER}])


RESULTS: dict[str, Callable[[Guarded], Any]] = {
    "chat": lambda guarded: guarded.openai.chat.completions.create(
        model="m",
        messages=[
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "fetch", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": ORDER}]},
        ],
    ),
    "responses": lambda guarded: guarded.openai.responses.create(
        model="m",
        input=[
            {"type": "function_call", "call_id": "c", "name": "fetch", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": ORDER},
        ],
    ),
    "messages": lambda guarded: guarded.anthropic.messages.create(
        model="m",
        max_tokens=9,
        messages=[
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c", "name": "fetch", "input": {}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": ORDER}]}
                ],
            },
        ],
    ),
    "a document": lambda guarded: guarded.anthropic.messages.create(
        model="m",
        max_tokens=9,
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": ORDER},
                    }
                ],
            }
        ],
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_orders_in_what_tools_and_documents_say_are_stopped(
    guarded: Guarded, model: Provider, name: str
) -> None:
    with pytest.raises(ShieldBlockedError):
        RESULTS[name](guarded)
    assert not model.asked


def test_a_conversation_that_grows_is_judged_where_it_is_new(
    guarded: Guarded, model: Provider, shield: Shield
) -> None:
    messages: list[Any] = []
    counts: list[Any] = []
    for number in range(4):
        model.say(f"answer {number}")
        messages.append({"role": "user", "content": f"question {number}"})
        found = guarded.openai.chat.completions.create(model="m", messages=messages)
        messages.append({"role": "assistant", "content": text_of(found)})
        counts.append(shield.stats["scans_total"])
    assert counts == [2, 4, 6, 8]


REDACT = """
version: "1.0"
name: tidy
rules:
  - {name: no-mail, type: data_protection, patterns: [email], direction: any, action: redact}
"""


def test_a_policy_may_redact_both_ways(model: Provider, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(REDACT, encoding="utf-8")
    guarded = Guarded(model, Shield(events_enabled=False, local_policies_path=tmp_path))
    for kind in KINDS:
        model.say("write to eve@example.com")
        assert text_of(guarded.asks(kind, "I am bob@example.com")) == "write to [EMAIL]"
        assert "bob@example.com" not in str(model.asked[-1])
        assert "[EMAIL]" in str(model.asked[-1])
    model.say("write to eve@example.com")
    with pytest.raises(ShieldBlockedError, match="redaction"):
        list(guarded.asks("chat", stream=True))
    guarded.openai.close()
    guarded.anthropic.close()


def test_events_tell_framework_agent_and_session(plane: Standin, model: Provider) -> None:
    with Shield(api_key="k", endpoint=plane.url) as shield:
        guarded = Guarded(model, shield)
        model.say(Turn("hello", HARMLESS.calls), BLAND)
        with shield.session(session_id="talk-7"):
            guarded.asks("chat")
            list(guarded.asks("messages", stream=True))
        guarded.openai.close()
        guarded.anthropic.close()
        assert shield.flush(5)
    told = {(event["framework"], event["agent_id"], event["session_id"]) for event in plane.events}
    assert told == {("openai", "clerk", "talk-7"), ("anthropic", "clerk", "talk-7")}
    kinds = [(event["framework"], event["event_type"], event["direction"]) for event in plane.events]
    assert sorted(kinds) == [
        ("anthropic", "scan", "inbound"),
        ("anthropic", "scan", "outbound"),
        ("openai", "scan", "inbound"),
        ("openai", "scan", "outbound"),
        ("openai", "tool_call", "outbound"),
    ]


def test_where_blocks_are_only_logged_everything_passes(
    model: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = Guarded(model, Shield(events_enabled=False, on_block="log"))
    for kind in KINDS:
        model.say(LEAK)
        assert "".join(map(said_by, guarded.asks(kind, ORDER, stream=True))) == LEAK
    assert caplog.text.count("A GitHub token") >= len(KINDS)
    guarded.openai.close()
    guarded.anthropic.close()


@pytest.fixture
async def aguarded(model: Provider, shield: Shield) -> AsyncIterator[tuple[AsyncOpenAI, AsyncAnthropic]]:
    one = AsyncOpenAI(base_url=f"{model.url}/v1", api_key="k")
    two = AsyncAnthropic(base_url=model.url, api_key="k")
    yield openai.shield_client(one, shield=shield), anthropic.shield_client(two, shield=shield)
    await one.close()
    await two.close()


async def test_the_async_clients_are_guarded_alike(
    aguarded: tuple[AsyncOpenAI, AsyncAnthropic], model: Provider
) -> None:
    one, two = aguarded
    said: Any = [{"role": "user", "content": "hi"}]
    model.say("hello", "hello", KEY, KEY)
    assert text_of(await one.chat.completions.create(model="m", messages=said)) == "hello"
    assert text_of(await two.messages.create(model="m", max_tokens=9, messages=said)) == "hello"
    with pytest.raises(ShieldBlockedError):
        await one.responses.create(model="m", input="hi")
    with pytest.raises(ShieldBlockedError):
        await two.messages.with_raw_response.create(model="m", max_tokens=9, messages=said)
    with pytest.raises(ShieldBlockedError):
        await one.responses.create(model="m", input=ORDER)


async def test_async_streams_are_held_back_alike(
    aguarded: tuple[AsyncOpenAI, AsyncAnthropic], model: Provider
) -> None:
    one, two = aguarded
    said: Any = [{"role": "user", "content": "hi"}]
    model.say(LEAK, LEAK, LEAK, BLAND)
    streams = [
        await one.chat.completions.create(model="m", messages=said, stream=True),
        await one.responses.create(model="m", input="hi", stream=True),
        await two.messages.create(model="m", max_tokens=9, messages=said, stream=True),
    ]
    for stream in streams:
        seen: list[str] = []
        with pytest.raises(ShieldBlockedError):
            async for event in stream:
                seen.append(event.model_dump_json())  # noqa: PERF401 - what came before the block counts
        assert seen
        assert "ghp" not in "".join(seen)
    clean = await one.chat.completions.create(model="m", messages=said, stream=True)
    assert "".join([said_by(event) async for event in clean]) == BLAND
