"""Decides: runs the layers over a text, leaves out false positives, and asks the policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import RLock
from typing import Any, Literal

import msgspec

from rune.core.clock import Clock
from rune.policy.action import ALLOW, Action, Direction, Verdict
from rune.policy.evaluate import Ledger
from rune.policy.scanners.finding import Direction as Channel
from rune.policy.scanners.finding import Finding, risk_score, verdict
from rune.policy.scanners.pii import redact
from rune.policy.values import read_arguments, texts
from rune.shield.context import Context
from rune.shield.faults import our_fault
from rune.shield.layers import Question, build_judge, build_layers
from rune.shield.options import ShieldConfig
from rune.shield.results import LayerResult, PolicyDecision, ScanResult
from rune.shield.rulebook import Rulebook
from rune.shield.stats import Stats

Kind = Literal["input", "output", "tool_result"]
UNFINISHED = "the scan did not finish, and fail_mode is closed"
UNJUDGED = "the policies could not be asked, and fail_mode is closed"
UNKNOWN = "the control plane has not told its policies yet, and fail_mode is closed"
_ALLOWED = PolicyDecision()
_ASKING = our_fault("asking the policies")


class _Reading:
    """What all layers say about one text."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.results: dict[str, str] = {}
        self.executed: list[str] = []
        self.complete = True
        self.risk = 0.0


class Guard:
    """The judge inside a Shield; knows nothing of events, threads and sockets."""

    def __init__(self, config: ShieldConfig, rulebook: Rulebook, *, clock: Clock, stats: Stats) -> None:
        self.rulebook = rulebook
        self._config = config
        self._clock = clock
        self._stats = stats
        self._ledger = Ledger()
        self.judge = build_judge(config, clock.monotonic)
        self.layers, self._missing = build_layers(config, clock.monotonic, self.judge)

    def scan(self, text: str, kind: Kind, context: Context, *, deep: bool = True) -> ScanResult:
        """The result for a text on its way in, out, or back from a tool; pieces of streams are not `deep`."""
        began = self._clock.monotonic()
        channel: Channel = "output" if kind == "output" else "input"
        source = context.source or ("tool" if kind == "tool_result" else "chat")
        tool = (context.tool or "tool") if kind == "tool_result" else None
        context = msgspec.structs.replace(context, source=source) if source != context.source else context
        question = self._question(text, channel, source, tool=tool, deep=deep)
        findings, result = self._result(question, context)
        decision = self._judge(_action(kind, context, findings), result)
        result = _with_policy(result, decision)
        if kind == "output" or (decision is not None and decision.action == "redact"):
            clean = redact(text, findings)
            result = msgspec.structs.replace(result, sanitized_content=clean if clean != text else None)
        return self._timed(result, began)

    def decide(self, tool: str, arguments: object, context: Context, *, scan: bool) -> PolicyDecision:
        """The decision on a tool call; what L1 finds in the arguments can block it too."""
        began = self._clock.monotonic()
        findings: Sequence[Finding] = ()
        result: ScanResult | None = None
        if scan and self.layers and arguments:
            text = None
            with our_fault("reading arguments"):
                text = argument_text(arguments)
            if text is None:
                result = self._unfinished(ScanResult())
            elif text:
                findings, result = self._result(self._question(text, "tool", "chat", tool=tool), context)
        context = context if context.tool == tool else msgspec.structs.replace(context, tool=tool)
        action = _action("tool_call", context, findings, arguments=arguments)
        decision = self._judge(action, result)
        if result is not None:
            result = self._timed(result, began)
            decision = _with_scan(decision, result)
        return decision or _ALLOWED

    def approved(self, tool: str, arguments: object, context: Context) -> None:
        """A call goes ahead that the policies alone did not allow: it counts as one that they did."""
        context = msgspec.structs.replace(context, tool=tool)
        action = _action("tool_call", context, (), arguments=arguments)
        counted = msgspec.structs.replace(action, tokens=0)
        now = self._clock.monotonic()
        self.rulebook.evaluator.record(counted, ledger=self._ledger, now=now)

    def count_fault(self) -> None:
        """Counts a fault of ours outside of the judge, as where a framework is read."""
        self._stats.add("faults_total")

    def after_fork(self) -> None:
        """The lock may have been held by a thread that the child does not have."""
        self._ledger.lock = RLock()
        if self.judge is not None:
            self.judge.after_fork()

    def judged_later(self, text: str, findings: Sequence[Finding], context: Context) -> ScanResult:
        """The result of what L3 found after the scan; what is a confirmed false positive is left out."""
        book = self.rulebook
        kept = book.false_positives.kept(findings, text, agent_id=context.agent_id, salt=book.salt)
        reading = _Reading()
        reading.executed = ["l3"]
        reading.results = {"l3": self._verdict(kept)}
        return self._weighed(kept, reading)

    def _question(
        self, text: str, channel: Channel, source: str, *, tool: str | None, deep: bool = True
    ) -> Question:
        deadline = self._clock.monotonic() + self._config.scan_timeout_ms / 1000
        return Question(text=text, direction=channel, source=source, tool=tool, deadline=deadline, deep=deep)

    def _result(self, question: Question, context: Context) -> tuple[list[Finding], ScanResult]:
        book, text = self.rulebook, question.text
        reading = self._read(question)
        found = reading.findings
        kept = book.false_positives.kept(found, text, agent_id=context.agent_id, salt=book.salt)
        if len(kept) != len(found):
            self._stats.add("suppressed_total", len(found) - len(kept))
            reading.results |= {name: self._verdict(_of(kept, name)) for name in reading.executed}
            reading.risk = 0.0
        result = self._weighed(kept, reading)
        return kept, result if reading.complete else self._unfinished(result)

    def _read(self, question: Question) -> _Reading:
        reading = _Reading()
        for layer in self.layers:
            answer = None
            with our_fault(f"running {layer.name}") as fault:
                answer = layer.scan(question)
            if answer is None:
                self._stats.add("faults_total", fault.happened)
                reading.complete = False
                reading.results[layer.name] = "error"
                continue
            if not answer.note:
                reading.executed.append(layer.name)
            reading.findings += answer.findings
            reading.risk = max(reading.risk, answer.risk)
            reading.results[layer.name] = answer.note or self._verdict(answer.findings)
            reading.complete = reading.complete and answer.complete
            if reading.results[layer.name] == "block":
                break
            if layer is not self.layers[-1] and self._clock.monotonic() > question.deadline:
                reading.complete = False
                break
        reading.findings.sort(key=lambda f: (f.start, f.end, f.rule))
        return reading

    def _verdict(self, findings: Sequence[Finding]) -> LayerResult:
        if not findings:
            return "pass"
        config = self._config
        return verdict(risk_score(findings), block_at=config.block_threshold, flag_at=config.flag_threshold)

    def _weighed(self, findings: list[Finding], reading: _Reading) -> ScanResult:
        results = {**self._missing, **reading.results}
        first = results.get("l1", "pass")
        l1: LayerResult = first if first in {"flag", "block"} else "pass"  # pyright: ignore[reportAssignmentType] - just checked
        if not findings:
            return ScanResult(
                risk_score=reading.risk,
                layers_executed=reading.executed,
                l2_result=results.get("l2"),
                l3_result=results.get("l3"),
            )
        types = {finding.type for finding in findings}
        worst = max(findings, key=lambda finding: finding.weight)
        risk = max(risk_score(findings), reading.risk)
        return ScanResult(
            blocked=risk >= self._config.block_threshold,
            risk_score=risk,
            threat_type=worst.type if worst.weight else None,
            explanation=worst.explanation if worst.weight else None,
            pii_detected="pii_exposure" in types,
            secrets_detected="secret_exposure" in types,
            layers_executed=reading.executed,
            l1_result=l1,
            l2_result=results.get("l2"),
            l3_result=results.get("l3"),
            threats_detected=list(map(_threat, findings)),
        )

    def _unfinished(self, result: ScanResult) -> ScanResult:
        if self._config.fail_mode == "open" or result.blocked:
            return result
        return msgspec.structs.replace(result, blocked=True, explanation=UNFINISHED)

    def _judge(self, action: Action, scan: ScanResult | None) -> PolicyDecision | None:
        """What the policies say, None when no rule matched."""
        closed = self._config.fail_mode == "closed"
        if closed and not self.rulebook.is_known:
            return PolicyDecision(allowed=False, action="block", severity="high", explanation=UNKNOWN)
        found: Verdict | None = None
        with _ASKING:
            found = self._ask(action, stopped=scan is not None and scan.blocked)
        if found is None:
            self._stats.add("faults_total")
            refused = PolicyDecision(allowed=False, action="block", severity="high", explanation=UNJUDGED)
            return refused if closed else None
        return _decision(found) if found is not ALLOW and found.matches else None

    def _ask(self, action: Action, *, stopped: bool) -> Verdict:
        """The verdict, remembered for rate limits and the like if the action will happen."""
        evaluator, now, ledger = self.rulebook.evaluator, self._clock.monotonic(), self._ledger
        lenient = self._config.on_block != "raise"
        if stopped and not lenient:
            return evaluator.evaluate(action, ledger=ledger, now=now)
        found = evaluator.decide(action, ledger=ledger, now=now)
        if lenient and not found.allowed:
            counted = msgspec.structs.replace(action, tokens=0)
            evaluator.record(counted, ledger=ledger, now=now)
        return found

    def _timed(self, result: ScanResult, began: float) -> ScanResult:
        taken = (self._clock.monotonic() - began) * 1000
        self._stats.scanned(taken, blocked=result.blocked)
        return msgspec.structs.replace(result, scan_latency_ms=round(taken, 4))


def argument_text(arguments: object) -> str:
    """Every text in the arguments, at any depth, one below the other; raises ValueError for too many."""
    return "\n".join(texts(read_arguments(arguments)))


def _of(findings: Sequence[Finding], layer: str) -> list[Finding]:
    return [finding for finding in findings if finding.layer == layer]


def _action(
    direction: Direction, context: Context, findings: Sequence[Finding], *, arguments: object = None
) -> Action:
    return Action(
        direction=direction,
        tool=context.tool if direction in {"tool_call", "tool_result"} else "",
        arguments=arguments,
        agent_id=context.agent_id,
        tags=context.tags,
        session_id=context.session_id,
        source="" if direction == "tool_call" else context.source,
        server=context.server,
        findings=tuple(findings),
        tokens=context.tokens,
    )


def _threat(finding: Finding) -> dict[str, Any]:
    return {name: value for name, value in _fields(finding) if value is not None}


def _fields(finding: Finding) -> Iterator[tuple[str, Any]]:
    for name in finding.__struct_fields__:
        yield name, getattr(finding, name)


def _decision(found: Verdict) -> PolicyDecision:
    return PolicyDecision(
        allowed=found.allowed,
        action=found.action,
        rule=found.rule,
        policy=found.policy,
        severity=found.severity,
        explanation=found.explanation,
        policy_id=found.policy_id,
        policy_version=found.policy_version,
    )


def _with_policy(result: ScanResult, decision: PolicyDecision | None) -> ScanResult:
    if decision is None:
        return result
    if decision.allowed or result.blocked:
        return msgspec.structs.replace(result, policy_result=decision)
    why = f"{decision.policy}/{decision.rule}: {decision.explanation}".removeprefix("/: ")
    return msgspec.structs.replace(result, blocked=True, explanation=why, policy_result=decision)


_NOTHING: dict[str, Any] = {}


def _with_scan(decision: PolicyDecision | None, scan: ScanResult) -> PolicyDecision:
    """The policies' decision; where they let pass what the scan blocks, the scan's."""
    decision = decision or _ALLOWED
    if not scan.blocked or not decision.allowed:
        return msgspec.structs.replace(decision, scan_result=scan)
    rules = [threat for threat in scan.threats_detected if threat["type"] == scan.threat_type]
    worst = max(rules, key=lambda threat: threat["confidence"], default=_NOTHING)
    return PolicyDecision(
        allowed=False,
        action="block",
        rule=worst.get("rule", ""),
        severity=worst.get("severity", "high"),
        explanation=f"in the arguments: {scan.explanation}",
        scan_result=scan,
    )
