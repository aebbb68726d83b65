"""Holds tool calls until a person has decided. One thread hears the decisions for all calls that wait.

A call that nobody can be asked about is denied, and says why: no control plane, one that is out of reach, or
too many calls that wait already.
"""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from threading import Event, Lock, Thread

import msgspec

from rune.core.clock import Clock
from rune.shield import events
from rune.shield.asyncs import in_loop, in_thread
from rune.shield.context import Context
from rune.shield.faults import our_fault
from rune.shield.line import Line, Unreachable
from rune.shield.options import ShieldConfig
from rune.shield.results import PolicyDecision

HOLD = 30
"""Seconds that the control plane is asked to hold a question open."""
GRACE = 1.0
"""Seconds that a decision of the last moment has to arrive."""
PAUSE = 0.5
"""Seconds before another try, doubled up to `LONGEST` while the control plane is out of reach."""
LONGEST = 5.0
OFFLINE = "there is no control plane to ask for an approval (events_enabled is off)"
_CREATED = 201
_REFUSED = range(400, 500)
_LATER = 429


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What was decided."""

    id: str = msgspec.field(name="_id")
    status: str
    decided_by: str = ""
    note: str = ""


class _Answers(msgspec.Struct, rename="camel"):
    approvals: list[Answer] = []
    revision: str = "0"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A call that needs an approval."""

    decision: PolicyDecision
    context: Context
    arguments: object
    arguments_hash: str


class Approvals:
    """The calls of one Shield that wait. Threads and tasks may use it at once."""

    def __init__(self, config: ShieldConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._waiter = self._clock.new_id().replace("-", "")
        self._lock = Lock()
        self._waiting: dict[str, Future[Answer]] = {}
        self._line: Line | None = None
        self._thread: Thread | None = None
        self._stop = Event()

    @property
    def depth(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    def decided(self, asked: Asked) -> PolicyDecision:
        """The decision with a person's word; waits at most `approval_timeout_seconds`."""
        began = self._begun(asked)
        if isinstance(began, PolicyDecision):
            return began
        approval, answer = began
        try:
            return self._told(asked, approval, answer.result(self._patience))
        except TookTooLong:
            return self._unanswered(asked, approval)
        finally:
            self._forget(approval)

    async def adecided(self, asked: Asked) -> PolicyDecision:
        """The same, with no thread and no event loop that waits."""
        began = await in_thread(lambda: self._begun(asked))
        if isinstance(began, PolicyDecision):
            return began
        approval, answer = began
        try:
            return self._told(asked, approval, await in_loop(answer, self._patience))
        except (TookTooLong, TimeoutError):
            return self._unanswered(asked, approval)
        finally:
            self._forget(approval)

    def close(self) -> None:
        """Whoever waits is denied."""
        self._stop.set()
        self._give_up("this Shield was closed")
        if self._line is not None:
            self._line.abort()

    def after_fork(self) -> None:
        """The child has calls of its own; those of the parent wait there."""
        self._reset()

    @property
    def _patience(self) -> float:
        return self._config.approval_timeout_seconds + GRACE

    def _begun(self, asked: Asked) -> tuple[str, Future[Answer]] | PolicyDecision:
        """The approval that was asked for, or the denial where nobody could be asked."""
        config = self._config
        if not config.events_enabled:
            return _denied(asked, OFFLINE)
        if not config.approval_timeout_seconds:
            return _denied(asked, "approval_timeout_seconds is 0: nobody is asked")
        approval = "apr_" + self._clock.new_id().replace("-", "")
        answer = Future[Answer]()
        with self._lock:
            if len(self._waiting) >= config.approval_waiting_max:
                return _denied(asked, f"{len(self._waiting)} calls wait for an approval already")
            self._waiting[approval] = answer
        why = "asking for an approval failed"
        with our_fault("asking for an approval"):
            why = self._ask(approval, asked)
        if why:
            self._forget(approval)
            return _denied(asked, why, approval)
        self._listen()
        return approval, answer

    def _ask(self, approval: str, asked: Asked) -> str:
        """Empty when somebody will be asked, else why nobody will."""
        decision, context = asked.decision, asked.context
        captures = self._config.capture_content
        body = {
            "approval_id": approval,
            "waiter": self._waiter,
            "agent_id": context.agent_id,
            "tool": context.tool[:200],
            "rule": f"{decision.policy or decision.policy_id}/{decision.rule}".strip("/")[:200],
            "severity": decision.severity or "",
            "session_id": context.session_id,
            "arguments": events.captured_arguments(asked.arguments) if captures else "",
            "arguments_hash": asked.arguments_hash,
            "wait_seconds": max(int(self._config.approval_timeout_seconds), 1),
        }
        line = Line(self._config)
        try:
            reply = line.ask("POST", "/v1/sdk/approvals", body=msgspec.json.encode(body))
        except Unreachable as error:
            return f"the control plane could not be asked for an approval ({error})"
        finally:
            line.close()
        if reply.status == _CREATED:
            return ""
        return f"the control plane took no question for an approval (HTTP {reply.status})"

    def _told(self, asked: Asked, approval: str, answer: Answer) -> PolicyDecision:
        who, note = answer.decided_by or "nobody", f": {answer.note}" if answer.note else ""
        if answer.status == "expired":
            return self._unanswered(asked, approval)
        return msgspec.structs.replace(
            asked.decision,
            allowed=answer.status == "approved",
            explanation=f"{answer.status} by {who}{note}",
            approval_id=approval,
        )

    def _unanswered(self, asked: Asked, approval: str) -> PolicyDecision:
        seconds, says = self._config.approval_timeout_seconds, self._config.approval_on_timeout
        why = f"nobody decided within {seconds:g} s, and approval_on_timeout is {says}"
        if says == "deny":
            return _denied(asked, why, approval)
        return msgspec.structs.replace(asked.decision, allowed=True, explanation=why, approval_id=approval)

    def _forget(self, approval: str) -> None:
        with self._lock:
            self._waiting.pop(approval, None)

    # The thread that hears the decisions

    def _listen(self) -> None:
        with self._lock:
            if self._thread is None and self._waiting:
                self._thread = Thread(target=self._run, name="rune-shield-approvals", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        """As long as somebody waits."""
        line = self._line = Line(self._config)
        after, pause = 0, PAUSE
        try:
            while self._is_needed():
                heard = None
                with our_fault("waiting for approvals"):
                    heard = self._hear(line, after)
                after, pause = (heard, PAUSE) if heard is not None else (after, min(pause * 2, LONGEST))
                if heard is None:
                    self._stop.wait(pause)
        finally:
            line.close()

    def _is_needed(self) -> bool:
        with self._lock:
            needed = bool(self._waiting) and not self._stop.is_set()
            if not needed:
                self._thread = None
            return needed

    def _hear(self, line: Line, after: int) -> int | None:
        """One question; returns what is known by now, None when there was no answer."""
        path = f"/v1/sdk/approvals?waiter={self._waiter}&after={after}&wait={HOLD}"
        try:
            reply = line.ask("GET", path, wait=HOLD)
        except Unreachable:
            return None
        if reply.status in _REFUSED and reply.status != _LATER:
            self._give_up(f"the control plane refused to say what was decided (HTTP {reply.status})")
            return None
        if reply.status != 200:  # noqa: PLR2004 - a good answer
            return None
        found = msgspec.json.decode(reply.body, type=_Answers)
        for answer in found.approvals:
            self._settle(answer)
        return int(found.revision)

    def _settle(self, answer: Answer) -> None:
        with self._lock:
            future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)

    def _give_up(self, why: str) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for approval in waiting:
            self._settle(Answer(id=approval, status="denied", note=why))


def _denied(asked: Asked, why: str, approval: str = "") -> PolicyDecision:
    """The decision as it was, a call that may not go ahead, and why nobody changed that."""
    return msgspec.structs.replace(
        asked.decision,
        allowed=False,
        explanation=f"{asked.decision.explanation}; {why}".removeprefix("; "),
        approval_id=approval,
    )
