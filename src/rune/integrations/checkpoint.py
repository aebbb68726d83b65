"""What every integration asks of a Shield: before the model, after it, before a tool and after it."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Literal, TypeVar

import msgspec

from rune.errors import RuneError
from rune.shield.asyncs import in_thread
from rune.shield.faults import our_fault
from rune.shield.results import PolicyDecision, ScanResult, ShieldBlockedError
from rune.shield.shield import Shield

T = TypeVar("T")
OnBlock = Literal["raise", "tool_error"]
"""What a blocked tool call is to the host: an exception, or an answer that the model reads."""

REMEMBERED = 4_096
"""Texts that passed and calls that were named, of which each is remembered; the oldest goes first."""
UNREDACTABLE = "a policy asks for redaction, and what was already handed out cannot be changed"


class Checkpoint:
    """Judges what passes; a conversation is sent whole each time, and only what is new in it is judged."""

    def __init__(
        self, shield: Shield, framework: str, *, agent_id: str | None = None, session_id: str | None = None
    ) -> None:
        given = {"framework": framework, "agent_id": agent_id, "session_id": session_id}
        self.shield = shield
        self.context: dict[str, Any] = {name: text for name, text in given.items() if text}
        self._passed = _Recent[bytes, None]()
        self._tools = _Recent[str, str]()
        self._own = _Recent[str, None]()

    def within(self, session_id: str) -> Checkpoint:
        """The same, for one session, where none is given and none is open."""
        if not session_id or self.context.get("session_id") or self.shield.context.session_id:
            return self
        ours = copy.copy(self)
        ours.context = {**self.context, "session_id": session_id}
        return ours

    def own(self, doing: str, work: Callable[[], T], otherwise: T) -> T:
        """What comes of reading what is theirs; a fault of ours is counted, `fail_mode` says what then."""
        stopped: RuneError | None = None
        with our_fault(doing):
            try:
                return work()
            except RuneError as error:  # said on purpose: a block, or what cannot be guarded
                stopped = error
        if stopped is not None:
            raise stopped
        self.shield.guard.count_fault()
        if self.shield.config.fail_mode == "closed":
            self.shield.enforce(ScanResult(blocked=True, explanation=f"Shield failed while {doing}"))
        return otherwise

    def input(self, text: str, source: str = "chat") -> str:
        """The text for the model, redacted if a policy says so; may raise ShieldBlockedError."""
        return self._scanned("input", text, {"source": source})

    def output(self, text: str, tokens: int = 0) -> str:
        """The text of the model; `tokens` is what the call used, and counts towards budgets."""
        return self._scanned("output", text, {"tokens": tokens})

    def result(self, tool: str, text: str) -> str:
        """The text that a tool returned."""
        return self._scanned("tool_result", text, {"tool": tool or "tool"})

    def call(self, tool: str, arguments: object) -> None:
        """Lets a tool call pass, or raises ShieldBlockedError."""
        self.shield.enforce(self.shield.validate_action(tool or "tool", arguments, self.context))

    def is_new(self, kind: str, text: str) -> bool:
        """Whether a text has not passed here in this session, under the policies that are in force."""
        return self._mark(kind, text, {}) not in self._passed

    def let_pass(self, kind: str, text: str) -> None:
        """Remembers a text that was judged elsewhere, as streams are."""
        self._passed.put(self._mark(kind, text, {}), None)

    def name_call(self, call_id: str, tool: str) -> None:
        """Remembers which tool a call was for, since results name only the call."""
        if call_id and tool:
            self._tools.put(call_id, tool)

    def tool_of(self, call_id: str) -> str:
        """The tool of a call, or `tool` where nobody told."""
        return self._tools.get(call_id) or "tool"

    def refusal(self, error: ShieldBlockedError) -> str:
        """What a model is told in the place of a tool's result: that it was stopped, and by which rule."""
        return self._said(refusal(error))

    def withheld(self, error: ShieldBlockedError) -> str:
        """What a model is told in the place of a result that it must not read."""
        return self._said(withheld(error))

    def _said(self, words: str) -> str:
        """Words of our own, which nobody has to judge."""
        self._own.put(words, None)
        return words

    def _scanned(self, kind: Literal["input", "output", "tool_result"], text: str, more: Any) -> str:
        if not text or (kind == "tool_result" and text in self._own):
            return text
        mark = self._mark(kind, text, more)
        if mark in self._passed:
            return text
        found = self.shield.scan(kind, text, {**self.context, **more})
        self.shield.enforce(found)
        redacted = redaction(found)
        if redacted is None:
            self._passed.put(mark, None)
            return text
        return redacted

    def _mark(self, kind: str, text: str, more: dict[str, Any]) -> bytes:
        outside = self.shield.context
        session = self.context.get("session_id") or outside.session_id
        agent = self.context.get("agent_id") or outside.agent_id
        where = (kind, more.get("source", ""), more.get("tool", ""), session, agent)
        version = self.shield.guard.rulebook.version
        told = "\x1f".join((*where, version, text)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(told, digest_size=16).digest()


def redaction(found: ScanResult) -> str | None:
    """The text that is to take the place of the scanned one, if a policy says that it must."""
    decision = found.policy_result
    return found.sanitized_content if decision is not None and decision.action == "redact" else None


def refuse_redaction(check: Checkpoint, found: ScanResult | None = None) -> None:
    """Stops, as `on_block` says, what would have to be redacted and cannot be."""
    outcome = msgspec.structs.replace(found or ScanResult(), blocked=True, explanation=UNREDACTABLE)
    check.shield.enforce(outcome)


def refusal(error: ShieldBlockedError) -> str:
    """What a model is told in the place of a tool's result: that it was stopped, and by which rule."""
    decision: PolicyDecision | None = error.policy_result
    rule = f" by rule {decision.rule!r}" if decision is not None and decision.rule else ""
    return f"This call was blocked by Shield{rule}. It was not carried out; do not try it again."


def withheld(error: ShieldBlockedError) -> str:
    """What a model is told in the place of a result that it must not read."""
    scan = error.scan_result
    kind = f" ({scan.threat_type})" if scan is not None and scan.threat_type else ""
    return f"What the tool returned was withheld by Shield{kind}. Go on without it."


async def beside(work: Callable[[], T]) -> T:
    """The result of a check, made in a thread so that the loop does not wait for it."""
    return await in_thread(work)


K = TypeVar("K")
V = TypeVar("V")


class _Recent(OrderedDict[K, V]):
    """The last things that were put in; threads may share it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self[key] = value
            self.move_to_end(key)
            while len(self) > REMEMBERED:
                self.popitem(last=False)
