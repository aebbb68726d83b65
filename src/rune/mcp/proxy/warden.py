"""The warden: says of each message whether it is sent on, changed, or answered in the other side's place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from rune.errors import FailedPrecondition
from rune.mcp.proxy import messages
from rune.mcp.proxy.inflight import InFlight, Question
from rune.mcp.proxy.listing import Listing
from rune.mcp.proxy.messages import Json, mapping, text
from rune.mcp.proxy.texts import call_name, replaced, texts
from rune.shield.results import PolicyDecision, ScanResult
from rune.shield.shield import Shield
from rune.toolbox.definitions import is_plain_name

LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
READS = frozenset({"tools/call", "tasks/result", "prompts/get", "resources/read"})
"""What is answered with content that goes to the model; others are judged where they hold sentences."""
GREETINGS = frozenset({"initialize", "server/discover"})
ASKS = frozenset({"sampling/createMessage", "elicitation/create"})
"""What a server may ask the client's model, or its user."""
ABOUT = "it was held back by Rune: "


class Outcome(NamedTuple):
    """What is sent on, and what goes back to whoever sent it; None is nothing."""

    onward: Json = None
    back: Json = None
    later: tuple[Callable[[], Awaitable[Outcome]], ...] = ()
    """What is known only when a person has decided."""


class Warden:
    """Judges the messages of one session."""

    def __init__(self, shield: Shield, listing: Listing, *, context: Mapping[str, Any]) -> None:
        self.asked, self.asked_back = InFlight(), InFlight()
        """What the client asked the server, and what the server asked the client."""
        self._shield, self._listing, self._context = shield, listing, dict(context)

    # From the client

    def from_client(self, message: Json) -> Outcome:
        """A message on its way to the server."""
        said = messages.bare(mapping(message))
        if "method" not in said:
            return self._answer_of_client(said)
        if "id" not in said:
            return self._notice(said, self.asked)
        identity = messages.key(said["id"])
        wrong = _misnumbered(said, identity, self.asked)
        if identity is None or wrong:
            return Outcome(back=wrong)
        return self._request(said, identity)

    def _request(self, said: dict[str, Json], identity: messages.Key) -> Outcome:
        params = mapping(said.get("params"))
        question = Question(said["id"], text(said["method"]), call_name(params), messages.is_modern(params))
        refusal = self._leaving(question.method, params.get("inputResponses"))
        if not refusal and question.method == "tools/call":
            refusal = self._not_trusted(question.about)
            if not refusal:
                return self._call(said, identity, question)
        if refusal:
            return Outcome(back=_refused(question, refusal))
        self.asked.add(identity, question)
        return Outcome(onward=said)

    def _not_trusted(self, tool: str) -> str:
        try:
            return self._listing.why_not(tool)
        except FailedPrecondition as error:
            return error.message

    def _call(self, said: dict[str, Json], identity: messages.Key, question: Question) -> Outcome:
        """A tool call as the policies say; while a person is asked everything else goes on."""
        arguments = mapping(said.get("params")).get("arguments")
        found = self._shield.validate_at_once(question.about, arguments, self._context)
        if isinstance(found, PolicyDecision):
            if not found.allowed:
                return Outcome(back=_refused(question, _why(found)))
            self.asked.add(identity, question)
            return Outcome(onward=said)
        self.asked.add(identity, question)
        return Outcome(later=(lambda: self._decided(said, identity, found),))

    async def _decided(
        self, said: dict[str, Json], identity: messages.Key, word: Callable[[], Awaitable[PolicyDecision]]
    ) -> Outcome:
        """What a person's word means for a call; nothing for one that was cancelled meanwhile."""
        decision = await word()
        if identity not in self.asked:
            return Outcome()
        if decision.allowed:
            return Outcome(onward=said)
        question = self.asked.take(identity)
        return Outcome(back=_refused(question, _why(decision)) if question else None)

    def _answer_of_client(self, said: dict[str, Json]) -> Outcome:
        identity = messages.key(said.get("id"))
        question = self.asked_back.take(identity) if identity else None
        if question is None:
            return Outcome(onward=said if identity is None else None)
        why = self._leaving(question.method, said.get("result"))
        if why:
            return Outcome(onward=messages.error(said["id"], messages.BLOCKED, ABOUT + why))
        return Outcome(onward=said)

    def _leaving(self, method: str, answer: Json) -> str:
        """Why the words of the client's model may not go to the server; what its user typed is the user's."""
        spoken = [each for each in _answers(method, answer) if "model" in each or "role" in each]
        found = texts(spoken)
        if not found:
            return ""
        result = self._shield.scan_output("\n".join(found), self._context)
        return _why(result) if result.blocked else ""

    def _notice(self, said: dict[str, Json], asked: InFlight) -> Outcome:
        """A notification; one that cancels is remembered."""
        if said.get("method") == "notifications/cancelled":
            identity = messages.key(mapping(said.get("params")).get("requestId"))
            if identity is not None:
                asked.cancel(identity)
        return Outcome(onward=said)

    # From the server

    def from_server(self, message: Json) -> Outcome:
        """A message on its way to the client."""
        said = messages.bare(mapping(message))
        if "method" not in said:
            return self._answer_of_server(said)
        if "id" not in said:
            return self._told(said)
        return self._asks_back(said)

    def _told(self, said: dict[str, Json]) -> Outcome:
        """A notification of the server's; one with orders is left out, since nobody waits for it."""
        method = text(said.get("method"))
        parts = texts(said.get("params"))
        if all(map(is_plain_name, parts)):
            return self._notice(said, self.asked_back)
        found = "\n".join(parts)
        scan = self._shield.scan("tool_result", found, {**self._context, "tool": method}, report=False)
        if scan.blocked:
            self._shield.report_scan("tool_result", found, scan, context={**self._context, "tool": method})
            self._listing.say(f"a {method[:100]!r} of the server is left out: {_why(scan)}")
            return Outcome()
        return self._notice(said, self.asked_back)

    def _asks_back(self, said: dict[str, Json]) -> Outcome:
        identity, method = messages.key(said["id"]), text(said.get("method"))
        wrong = _misnumbered(said, identity, self.asked_back)
        if identity is None or wrong:
            return Outcome(back=wrong)
        is_read = method in ASKS or not all(map(is_plain_name, texts(said.get("params"))))
        if is_read and (why := self._arriving(method, said.get("params"))):
            return Outcome(back=messages.error(said["id"], messages.BLOCKED, ABOUT + why))
        self.asked_back.add(identity, Question(said["id"], method, "", is_modern=False))
        return Outcome(onward=said)

    def _answer_of_server(self, said: dict[str, Json]) -> Outcome:
        identity = messages.key(said.get("id"))
        question = self.asked.take(identity) if identity else None
        if question is None:
            return self._unasked(said, identity)
        if "error" in said:
            return self._failure(question, said)
        if not isinstance(said.get("result"), dict):
            return Outcome(onward=_refused(question, "its answer is neither a result nor an error"))
        result = mapping(said["result"])
        try:
            return self._result(question, said, result)
        except RecursionError:
            return Outcome(onward=_refused(question, "the answer is nested too deep to be judged"))

    def _unasked(self, said: dict[str, Json], identity: messages.Key | None) -> Outcome:
        """An error without an id is one that the server could not attach; anything else answers nothing."""
        if identity is not None or said.get("id") is not None or "error" not in said:
            return Outcome()
        return Outcome(onward=None if self._arriving("error", said["error"]) else said)

    def _failure(self, question: Question, said: dict[str, Json]) -> Outcome:
        why = self._arriving(question.about or question.method, said.get("error"))
        return Outcome(
            onward=_refused(question, f"the error that the server answered {ABOUT}{why}") if why else said
        )

    def _result(self, question: Question, said: dict[str, Json], result: dict[str, Json]) -> Outcome:
        method = question.method
        if method in LISTS:
            return Outcome(onward={**said, "result": self._listing.shown(method, LISTS[method], result)})
        if method in GREETINGS:
            return Outcome(onward={**said, "result": self._listing.greeting(result)})
        if method not in READS and all(map(is_plain_name, texts(result))):
            return Outcome(onward=said)
        return self._content(question, said, result)

    def _content(self, question: Question, said: dict[str, Json], result: dict[str, Json]) -> Outcome:
        """What a tool, a prompt or a resource answered: held back, cleaned or let through."""
        tool = question.about or question.method
        found = texts(result)
        scan = self._shield.scan_tool_result(tool, "\n".join(found), self._context)
        if scan.blocked:
            return Outcome(onward=_refused(question, f"what {tool!r} answered {ABOUT}{_why(scan)}"))
        if scan.policy_result is not None and scan.policy_result.action == "redact":
            return Outcome(onward={**said, "result": replaced(result, self._cleaner(tool))})
        return Outcome(onward=said)

    def _cleaner(self, tool: str) -> Callable[[str], str]:
        context = {**self._context, "tool": tool}

        def clean(part: str) -> str:
            found = self._shield.scan("tool_result", part, context, report=False)
            return part if found.sanitized_content is None else found.sanitized_content

        return clean

    def _arriving(self, tool: str, content: Json) -> str:
        """Why words of the server may not reach the client's model."""
        found = texts(content)
        if not found:
            return ""
        result = self._shield.scan_tool_result(tool, "\n".join(found), self._context)
        return _why(result) if result.blocked else ""


def _misnumbered(said: dict[str, Json], identity: messages.Key | None, asked: InFlight) -> Json:
    """The refusal of a request whose answer could not be told from another's, or that is one too many."""
    if identity is None:
        says = f"a request needs an id: a number, or a text of at most {messages.MOST_ID} characters"
        return messages.error(None, messages.INVALID_REQUEST, says)
    if not isinstance(said["method"], str):
        return messages.error(said["id"], messages.INVALID_REQUEST, "the method of a request is a text")
    if identity in asked:
        return messages.error(said["id"], messages.INVALID_REQUEST, "a request of this id waits already")
    if asked.is_full:
        return messages.error(said["id"], messages.BUSY, "too many requests wait for an answer")
    return None


def _answers(method: str, answer: Json) -> list[dict[str, Json]]:
    """Answers of the client: the one to a request of the server's, or those that a repeated request
    brings.
    """
    if method == "sampling/createMessage":
        return [mapping(answer)]
    return [mapping(each) for each in mapping(answer).values()] if method in READS else []


def _refused(question: Question, why: str) -> Json:
    if question.method == "tools/call":
        says = f"Rune blocked this call of {question.about!r}: {why}"
        return messages.failed_call(question.identity, says, is_modern=question.is_modern)
    says = f"Rune blocked this {question.method}: {why}"
    return messages.error(question.identity, messages.BLOCKED, says)


def _why(outcome: PolicyDecision | ScanResult) -> str:
    """The reason for a block, with the event that tells of it."""
    policy = outcome if isinstance(outcome, PolicyDecision) else outcome.policy_result
    why = outcome.explanation or "no reason was given"
    rule = "/".join(filter(None, (policy.policy, policy.rule))) if policy else ""
    parts = [f"rule {rule}" if rule and rule not in why else "", f"event {outcome.event_id}"]
    if isinstance(outcome, PolicyDecision) and outcome.action == "require_approval":
        parts.insert(0, "it needs somebody's approval")
    return f"{why} ({', '.join(filter(None, parts))})"
