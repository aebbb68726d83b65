"""Unit tests of policies: a YAML file names a policy, actions of agents, and what must be decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from rune.errors import InvalidArgument
from rune.policy.action import Action, Direction, Finding, Found, Verdict, VerdictAction
from rune.policy.compile import compile as compiled
from rune.policy.document import parse
from rune.policy.evaluate import ActivePolicy, Evaluator
from rune.policy.ledger import Ledger
from rune.policy.problems import Problems
from rune.policy.scanners.patterns import PatternScanner
from rune.positions.spots import Malformed
from rune.positions.values import read

LARGEST = 1 << 20


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step: an action, and what is expected."""

    name: str
    expect: VerdictAction
    rule: str | None = None
    """The rule that must decide; absent asks for none in particular."""
    direction: Direction = "tool_call"
    tool: str = ""
    arguments: Any = None
    text: str = ""
    """It is scanned, and what is found is judged."""
    findings: list[Finding] = []
    agent: str = "agent"
    tags: tuple[str, ...] = ()
    session: str = "session"
    source: str = ""
    server: str = ""
    tokens: Annotated[int, Meta(ge=0)] = 0
    at: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds since the start of the file's story."""
    repeat: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """Do it so often; the last time is what is looked at."""


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of tests. They run in order and share one memory, so that limits and sequences can be tested."""

    version: Literal["1.0"] = "1.0"
    policy: str | dict[str, Any]
    """The path of a policy, from this file's folder, or the policy itself."""
    tests: Annotated[list[Case], Meta(min_length=1, max_length=1_000)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A test and what was wrong; empty when nothing was."""

    name: str
    wrong: str = ""


def run(path: Path) -> list[Outcome]:
    """The outcome of every test of a file; raises InvalidArgument for a file that is not good."""
    suite = _suite(path)
    evaluator = Evaluator([ActivePolicy(policy=compiled(parse(_policy(suite, path))))])
    ledger = Ledger()
    scanner = PatternScanner()
    return [_outcome(case, evaluator, ledger, scanner=scanner) for case in suite.tests]


def decide(policy: str, case: Case) -> Verdict:
    """What a policy in YAML says of one step; raises InvalidArgument for a policy that is not good."""
    evaluator = Evaluator([ActivePolicy(policy=compiled(parse(policy)))])
    return evaluator.decide(_action(case, PatternScanner()), ledger=Ledger(), now=case.at)


def _outcome(case: Case, evaluator: Evaluator, ledger: Ledger, *, scanner: PatternScanner) -> Outcome:
    action = _action(case, scanner)
    for _ in range(case.repeat - 1):
        evaluator.decide(action, ledger=ledger, now=case.at)
    verdict = evaluator.decide(action, ledger=ledger, now=case.at)
    return Outcome(name=case.name, wrong="; ".join(_wrong(case, verdict.action, verdict.rule)))


def _action(case: Case, scanner: PatternScanner) -> Action:
    return Action(
        direction=case.direction,
        tool=case.tool,
        arguments=case.arguments,
        agent_id=case.agent,
        tags=case.tags,
        session_id=case.session,
        source=case.source,
        server=case.server,
        tokens=case.tokens,
        findings=(*case.findings, *_scanned(case, scanner)),
    )


def _scanned(case: Case, scanner: PatternScanner) -> Iterable[Found]:
    if not case.text:
        return ()
    match case.direction:
        case "tool_call":
            return scanner.scan(case.text, direction="tool", tool=case.tool)
        case "output":
            return scanner.scan(case.text, direction="output")
        case "tool_result":
            return scanner.scan(case.text, direction="input", source="tool", tool=case.tool)
        case _:
            return scanner.scan(case.text, direction="input", source=case.source or "chat")


def _wrong(case: Case, action: str, rule: str) -> Iterator[str]:
    if action != case.expect:
        yield f"expected {case.expect}, got {action}" + (f" by rule {rule!r}" if rule else "")
    elif case.rule is not None and rule != case.rule:
        yield f"expected rule {case.rule!r}, got {rule!r}"


def _suite(path: Path) -> Suite:
    try:
        return msgspec.convert(read(_read(path)).value, Suite)
    except Malformed as error:
        raise InvalidArgument(f"{path}: {Problems.of(error).error().message}") from None
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{path}: {error}") from error


def _policy(suite: Suite, path: Path) -> str:
    if isinstance(suite.policy, dict):
        return yaml.safe_dump(suite.policy, sort_keys=False)
    return _read(path.parent / suite.policy)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    if len(text) > LARGEST:
        raise InvalidArgument(f"{path} has more than {LARGEST} characters")
    return text
