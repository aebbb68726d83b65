"""`Shield`: scans what goes into and out of an agent, and decides what it may do.

Scans and decisions are questions, and always answered; `enforce` and `protect` act on the answer as
`on_block` says. What leaves the process, and when, is the business of `reports` and `sender`.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import msgspec

from rune.core.clock import Clock, SystemClock
from rune.policy.scanners.finding import Finding
from rune.shield import forks
from rune.shield.approvals import Approvals, Asked
from rune.shield.asyncs import in_thread
from rune.shield.context import Context, Session, default_context, merged, with_tool
from rune.shield.debug import Debug
from rune.shield.events import arguments_hash
from rune.shield.faults import logger, our_fault
from rune.shield.guard import UNFINISHED, UNJUDGED, Guard, Kind
from rune.shield.lifetimes import farewell, let_go, telling
from rune.shield.options import Keywords, ShieldConfig, resolve
from rune.shield.protect import protected
from rune.shield.reports import Reports
from rune.shield.results import PolicyDecision, ScanResult, blocked_error
from rune.shield.rulebook import first_rulebook
from rune.shield.sender import Sender
from rune.shield.stats import Stats
from rune.shield.sync import Sync

if TYPE_CHECKING:
    from rune.shield.afterthoughts import Afterthoughts, Thought

F = TypeVar("F", bound=Callable[..., Any])
_JUDGING = our_fault("judging a tool call")
EXIT_SECONDS = 2.0
"""How long the end of the process waits for the last events."""


class Shield:
    """The guard of an agent. Make one per process and share it: threads and tasks may use it at once.

    Settings are keywords, or a `config`, or `RUNE_<FIELD>` in the environment. After construction it raises
    TypeError for an argument of the wrong type, ShieldBlockedError from `enforce` and `protect`; no more.
    """

    def __init__(
        self, *, config: ShieldConfig | None = None, clock: Clock | None = None, **keywords: Unpack[Keywords]
    ) -> None:
        self.config = config = resolve(config, keywords, os.environ)
        self._clock = clock = clock or SystemClock()
        self._stats = Stats()
        debug = Debug(on=config.debug)
        syncs = config.events_enabled and config.policy_sync_interval_seconds > 0
        rulebook = first_rulebook(config.local_policies_path, config.api_key, syncs=syncs)
        self.guard = Guard(config, rulebook, clock=clock, stats=self._stats)
        self._current: ContextVar[Context] = ContextVar("rune")
        self._outside = default_context(config)
        self._sender = Sender(config, clock, self._stats, debug=debug) if config.events_enabled else None
        self._sync = Sync(config, clock, self.guard, debug=debug) if syncs else None
        self._reports = Reports(config, clock, debug, put=self._sender.put if self._sender else None)
        self._afterthoughts = self._build_afterthoughts()
        self._approvals = Approvals(config, clock)
        self._at_exit = farewell(weakref.ref(self))
        forks.follow(self)
        if self._sender is not None:
            atexit.register(self._at_exit)
            weakref.finalize(self, let_go, self._sender, self._sync, self._at_exit).atexit = False
        if self._sync is not None:
            self._sync.ensure()

    # Questions

    def scan_input(self, content: str, context: Mapping[str, Any] | None = None) -> ScanResult:
        """What is in a text on its way to the model; `context["source"]` says where it came from."""
        return self.scan("input", content, context)

    def scan_output(self, content: str, context: Mapping[str, Any] | None = None) -> ScanResult:
        """What is in a text of the model; `sanitized_content` has it without secrets and personal data."""
        return self.scan("output", content, context)

    def scan_tool_result(
        self, tool: str, content: str, context: Mapping[str, Any] | None = None
    ) -> ScanResult:
        """What is in a text that a tool returned: nobody may give orders there."""
        return self.scan("tool_result", content, {**_mapping(context), "tool": _text("tool", tool)})

    def scan(
        self, kind: Kind, content: str, context: Mapping[str, Any] | None = None, *, report: bool = True
    ) -> ScanResult:
        """The scan behind the three others; without `report` no event tells of it."""
        text = _text("content", content)
        where = merged(self.context, context)
        self._wait_for_policies()
        closed = self.config.fail_mode == "closed"
        result = ScanResult(blocked=closed, explanation=UNFINISHED if closed else None)
        with our_fault("scanning") as fault:
            result = self.guard.scan(text, kind, where, deep=report)
        if fault.happened:
            self._stats.add("faults_total")
        result = msgspec.structs.replace(result, event_id=self._reports.new_id())
        if report:
            self.report_scan(kind, text, result, context=context)
        return result

    def report_scan(
        self, kind: Kind, content: str, result: ScanResult, *, context: Mapping[str, Any] | None = None
    ) -> None:
        """Sends the event of a scan that was made without one, as streams do: many scans, one event."""
        where = merged(self.context, context)
        self._reports.scan(kind, content, where, result=result, salt=self.guard.rulebook.salt)
        if result.l3_result == "pending" and not result.blocked:
            self._think_later(kind, content, where, result=result)

    def validate_action(
        self, tool: str, arguments: object = None, context: Mapping[str, Any] | None = None, *,
        scan_arguments: bool = True,
    ) -> PolicyDecision:  # fmt: skip
        """Whether a tool may be called so. A call that is allowed counts towards limits and sequences.

        Where a policy says `require_approval` it waits for a person, `approval_timeout_seconds` at most.
        """
        where = with_tool(self.context, context, _text("tool", tool))
        decision = self._judged(tool, arguments, where, scan_arguments=scan_arguments)
        if decision.action == "require_approval":
            decision = self._approvals.decided(self._asked(decision, where, arguments))
        return self._finished(decision, where, arguments)

    def validate_at_once(
        self, tool: str, arguments: object = None, context: Mapping[str, Any] | None = None, *,
        scan_arguments: bool = True,
    ) -> PolicyDecision | Callable[[], Awaitable[PolicyDecision]]:  # fmt: skip
        """As `validate_action`; where a person has to be asked, what to await for the decision."""
        where = with_tool(self.context, context, _text("tool", tool))
        decision = self._judged(tool, arguments, where, scan_arguments=scan_arguments)
        if decision.action != "require_approval":
            return self._finished(decision, where, arguments)

        async def word() -> PolicyDecision:
            told = await self._approvals.adecided(self._asked(decision, where, arguments))
            return self._finished(told, where, arguments)

        return word

    def _judged(
        self, tool: str, arguments: object, where: Context, *, scan_arguments: bool
    ) -> PolicyDecision:
        """What the policies say, before anybody is asked."""
        self._wait_for_policies()
        with _JUDGING:
            return self.guard.decide(tool, arguments, where, scan=scan_arguments)
        self._stats.add("faults_total")
        if self.config.fail_mode == "closed":
            return PolicyDecision(allowed=False, action="block", severity="high", explanation=UNJUDGED)
        return PolicyDecision()

    def _asked(self, decision: PolicyDecision, where: Context, arguments: object) -> Asked:
        hashed = arguments_hash(self.guard.rulebook.salt, arguments)
        return Asked(decision=decision, context=where, arguments=arguments, arguments_hash=hashed)

    def _finished(self, decision: PolicyDecision, where: Context, arguments: object) -> PolicyDecision:
        """The decision with its event; what a person allowed counts as what the policies allow."""
        if decision.action == "require_approval" and decision.allowed:
            with our_fault("counting an approved call"):
                self.guard.approved(where.tool, arguments, where)
        self._stats.decided(blocked=not decision.allowed)
        decision = msgspec.structs.replace(decision, event_id=self._reports.new_id())
        self._reports.call(where, arguments, decision=decision, salt=self.guard.rulebook.salt)
        return decision

    # Acting on the answers

    def enforce(self, outcome: ScanResult | PolicyDecision) -> None:
        """Does what `on_block` says with a block, and nothing else; may raise ShieldBlockedError."""
        blocked = outcome.blocked if isinstance(outcome, ScanResult) else not outcome.allowed
        if not blocked:
            return
        if self.config.on_block == "raise":
            raise blocked_error(outcome)
        logger.warning("Shield would block: %s (event %s)", outcome.explanation, outcome.event_id)
        if self.config.on_block == "alert":
            self._reports.violation(self.context, outcome)

    def protect(
        self, tool: str | None = None, *, agent_id: str | None = None, scan_arguments: bool = True,
        scan_result: bool = True,
    ) -> Callable[[F], F]:  # fmt: skip
        """Makes a function a guarded tool: plain, async, generator or async generator; its signature stays.

        The call is judged with its arguments by name, and what it returns or yields is scanned as a tool's.
        """
        if tool is not None:
            _text("tool", tool)

        def decorate(function: F) -> F:
            return protected(
                self, function, tool=tool, agent_id=agent_id, scans=(scan_arguments, scan_result)
            )

        return decorate

    def session(self, *, agent_id: str | None = None, session_id: str | None = None) -> Session:
        """A session for all calls inside `with`; limits, sequences and taint are counted per session id."""
        given = {"agent_id": agent_id, "session_id": session_id or self._clock.new_id()}
        return Session(self._current, self._outside, merged(self.context, given))

    def report_decision(
        self, decision: PolicyDecision, context: Mapping[str, Any] | None = None, *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Sends the event of a decision made elsewhere, such as a proxy's on a tool it is offered."""
        where = merged(self.context, context)
        told = msgspec.structs.replace(decision, event_id=decision.event_id or self._reports.new_id())
        self._reports.decision(where, told, metadata=metadata or {})

    def report_false_positive(self, scan_result_or_event_id: object, note: str = "") -> None:
        """Tells the control plane of a wrong block; nothing is suppressed until someone agrees."""
        if isinstance(scan_result_or_event_id, (ScanResult, PolicyDecision)):
            event_id = scan_result_or_event_id.event_id
        else:
            event_id = _text("scan_result_or_event_id", scan_result_or_event_id)
        self._reports.false_positive(self.context, event_id, _text("note", note))

    # Twins for event loops

    async def ascan_input(self, content: str, context: Mapping[str, Any] | None = None) -> ScanResult:
        """As `scan_input`, in a thread."""
        return await in_thread(lambda: self.scan_input(content, context))

    async def ascan_output(self, content: str, context: Mapping[str, Any] | None = None) -> ScanResult:
        """As `scan_output`, in a thread."""
        return await in_thread(lambda: self.scan_output(content, context))

    async def ascan_tool_result(
        self, tool: str, content: str, context: Mapping[str, Any] | None = None
    ) -> ScanResult:
        """As `scan_tool_result`, in a thread."""
        return await in_thread(lambda: self.scan_tool_result(tool, content, context))

    async def avalidate_action(
        self, tool: str, arguments: object = None, context: Mapping[str, Any] | None = None, *,
        scan_arguments: bool = True,
    ) -> PolicyDecision:  # fmt: skip
        """As `validate_action`, in a thread; while it waits for a person it holds none."""
        found = await in_thread(
            lambda: self.validate_at_once(tool, arguments, context, scan_arguments=scan_arguments)
        )
        return found if isinstance(found, PolicyDecision) else await found()

    async def aflush(self, timeout: float = 5.0) -> bool:
        """As `flush`, in a thread."""
        return await in_thread(lambda: self.flush(timeout))

    async def aclose(self, timeout: float = EXIT_SECONDS) -> None:
        """As `close`, in a thread."""
        await in_thread(lambda: self.close(timeout))

    # Life

    def wait_for_policies(self, timeout: float) -> bool:
        """Whether policies are known, waiting at most so long for the control plane's first word."""
        return self._sync.wait(timeout) if self._sync is not None else True

    def flush(self, timeout: float = 5.0) -> bool:
        """Sends what is queued, partial batches too; whether all of it was delivered in time.

        Call it where the process may be frozen or killed next, as at the end of a serverless invocation.
        """
        until = self._clock.monotonic() + timeout
        thought = self._afterthoughts is None or self._afterthoughts.flush(timeout)
        if self._sender is None:
            return thought
        with our_fault("flushing") as fault:
            return self._sender.flush(max(until - self._clock.monotonic(), 0.0)) and thought
        return not fault.happened

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Delivers what is left within the time, counts or spools the rest, ends the threads; repeatable.

        A closed Shield still scans and decides; it reports no more.
        """
        atexit.unregister(self._at_exit)
        with our_fault("closing"):
            if self._afterthoughts is not None:
                self._afterthoughts.close(timeout)
                self._afterthoughts.judge.close()
            self._approvals.close()
            if self._sync is not None:
                self._sync.stop(EXIT_SECONDS)
            if self._sender is not None:
                self._sender.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.aclose()

    @property
    def context(self) -> Context:
        """What holds for calls here that say nothing themselves: of the session, or of the settings."""
        return self._current.get(self._outside)

    @property
    def stats(self) -> dict[str, object]:
        """Counters since the start of this process, the queue's depth, and the version of the policies."""
        book = self.guard.rulebook
        return {
            **self._stats.report(),
            "policy_version": book.version,
            "policy_synced_at": book.synced_at.isoformat() if book.synced_at else None,
            "approvals_waiting": self._approvals.depth,
            "queue_depth": self._sender.depth if self._sender is not None else 0,
        }

    def after_fork(self) -> None:
        """In a child: threads of its own at the next use, nothing queued, no lock held."""
        self._stats.after_fork()
        self.guard.after_fork()
        if self._afterthoughts is not None:
            self._afterthoughts.after_fork()
        self._approvals.after_fork()
        if self._sender is not None:
            self._sender.after_fork()
        if self._sync is not None:
            self._sync.after_fork()

    def tell_verdict(self, thought: Thought, found: list[Finding]) -> None:
        """Reports what L3 said of a text that has passed already; the text itself goes nowhere."""
        result = self.guard.judged_later(thought.text, found, thought.context)
        result = msgspec.structs.replace(result, event_id=self._reports.new_id())
        book = self.guard.rulebook
        self._reports.scan(
            thought.kind,
            thought.text,
            thought.context,
            result=result,
            salt=book.salt,
            of_event=thought.event_id,
        )
        if result.blocked:
            logger.warning("Shield's judge: %s (event %s)", result.explanation, thought.event_id)

    def _build_afterthoughts(self) -> Afterthoughts | None:
        if self.guard.judge is None:
            return None
        from rune.shield.afterthoughts import Afterthoughts  # noqa: PLC0415 - only who has a judge pays for it

        made = Afterthoughts(self.guard.judge, self._clock, self._stats, tell=telling(weakref.ref(self)))
        weakref.finalize(self, made.close, 0).atexit = False
        return made

    def _think_later(self, kind: Kind, text: str, where: Context, *, result: ScanResult) -> None:
        from rune.shield.afterthoughts import Thought  # noqa: PLC0415 - it was loaded with the judge

        if self._afterthoughts is None:
            return
        direction = "output" if kind == "output" else "input"
        source = where.source or ("tool" if kind == "tool_result" else "chat")
        with our_fault("queueing for the judge"):
            self._afterthoughts.put(Thought(kind, text, where, result.event_id, direction, source))

    def _wait_for_policies(self) -> None:
        """Sees that the sync runs in this process; who must not work without policies waits for the first."""
        if self._sync is None:
            return
        with our_fault("waiting for policies"):
            self._sync.ensure()
            if self.config.fail_mode == "closed" and not self.guard.rulebook.is_known:
                self._sync.wait(self.config.connection_timeout_seconds)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is text, not {type(value).__name__}")
    return value


def _mapping(context: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if context is None:
        return {}
    if not isinstance(context, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"context is a mapping, not {type(context).__name__}")
    return context
