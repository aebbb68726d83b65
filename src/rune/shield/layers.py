"""The layers that read a text, cheapest first. A layer is an object with one method, `scan`.

Nothing is interrupted: a layer looks at the deadline where it can stop, and says when it did not finish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from rune.errors import FailedPrecondition
from rune.policy.scanners.finding import WEIGHTS, Direction, Finding
from rune.shield.faults import logger
from rune.shield.forks import importing
from rune.shield.options import ShieldConfig

if TYPE_CHECKING:
    from rune.policy.scanners.judge import Judge
    from rune.policy.scanners.rules import Rule
    from rune.policy.scanners.similarity import SimilarityScanner

STRETCH = 128_000
"""Characters that L1 reads between two looks at the clock."""
OVERLAP = 2_000
MAX_FINDINGS = 10_000

MISSING = {"l2": "L2 scanner not available", "l3": "L3 judge not available"}
REMEDY = {"l2": "pip install 'runesec[vector]'", "l3": "set l3_base_url and l3_model"}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A text to read, and by when."""

    text: str
    direction: Direction
    source: str = "chat"
    tool: str | None = None
    deadline: float
    """Monotonic seconds."""
    deep: bool = True
    """False for a piece of something that comes in many: it is not worth a question to a model."""


class Answer(msgspec.Struct, frozen=True):
    """What a layer found; `complete` is False when it ran out of time."""

    findings: Sequence[Finding]
    complete: bool = True
    note: str = ""
    """What the result says of the layer in the place of pass, flag or block."""
    risk: float = 0.0
    """How sure a layer that sees degrees is of the whole text, also where it has no finding to tell."""


class Layer(Protocol):
    """One way to read a text."""

    @property
    def name(self) -> Literal["l1", "l2", "l3"]:
        """Under which the result reports it."""
        ...

    def scan(self, question: Question) -> Answer:
        """What is in the text; called by many threads at once."""
        ...


class PatternLayer:
    """L1. The pattern engine is built with the first scan, or by `warm`."""

    name: Literal["l1"] = "l1"

    def __init__(self, rules_path: str | None, now: Callable[[], float]) -> None:
        self._now = now
        self._rules = _own_rules(rules_path) if rules_path else None
        self._scan: Callable[..., list[Finding]] | None = None

    def scan(self, question: Question) -> Answer:
        """Reads a long text in stretches that overlap, until the deadline."""
        scan = self._scan or self.warm()
        text, direction, source, tool = question.text, question.direction, question.source, question.tool
        if len(text) <= STRETCH:
            return Answer(scan(text, direction=direction, source=source, tool=tool))
        found: dict[tuple[str, int, int], Finding] = {}
        for start in range(0, len(text), STRETCH - OVERLAP):
            if self._now() > question.deadline or len(found) > MAX_FINDINGS:
                return Answer(list(found.values()), complete=False)
            part = text[start : start + STRETCH]
            for finding in _moved(scan(part, direction=direction, source=source, tool=tool), start):
                found.setdefault((finding.rule, finding.start, finding.end), finding)
        return Answer(list(found.values()))

    def warm(self) -> Callable[..., list[Finding]]:
        """Loads and builds the engine once, for all threads."""
        with importing:
            return self._scan or self._built()

    def _built(self) -> Callable[..., list[Finding]]:
        from rune.policy.scanners.patterns import PatternScanner  # noqa: PLC0415 - loads pattern libraries

        if self._rules is None:
            self._scan = PatternScanner().scan
        else:
            from rune.policy.scanners.rules import builtin_rules  # noqa: PLC0415 - as above

            self._scan = PatternScanner((*builtin_rules(), *self._rules)).scan
        return self._scan


class JudgeLayer:
    """L3, where the scan waits for it."""

    name: Literal["l3"] = "l3"

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def scan(self, question: Question) -> Answer:
        """What the judge says; without a ruling the answer is not complete."""
        from rune.policy.scanners.judge import NoRuling  # noqa: PLC0415 - who has a judge loaded it already

        if not question.deep:
            return Answer([], note="pending")
        text, direction, source = question.text, question.direction, question.source
        try:
            return Answer(
                self._judge.scan(text, direction=direction, source=source, deadline=question.deadline)
            )
        except NoRuling as error:
            logger.warning("the L3 judge gave no ruling (%s)", error)
            return Answer([], complete=False, note="error")


def build_judge(config: ShieldConfig, now: Callable[[], float]) -> Judge | None:
    """The judge that the settings name, if they name one."""
    if not (config.l3_enabled and config.l3_base_url and config.l3_model):
        return None
    import secrets  # noqa: PLC0415 - only who has a judge pays for it

    from rune.policy.scanners.judge import Endpoint, Judge  # noqa: PLC0415 - as above

    endpoint = Endpoint(
        base_url=config.l3_base_url,
        model=config.l3_model,
        api_key=config.l3_api_key or "",
        timeout=config.l3_timeout_ms / 1000,
        per_minute=config.l3_per_minute,
    )
    return Judge(endpoint, now=now, token=lambda: secrets.token_hex(16))


class SimilarityLayer:
    """L2. The weights are mapped with the first scan, or by `warm`."""

    name: Literal["l2"] = "l2"

    def __init__(self, config: ShieldConfig, now: Callable[[], float]) -> None:
        self._now = now
        self._scanner: SimilarityScanner | None = None
        common = (config.flag_threshold, config.block_threshold)
        own = (config.l2_flag_threshold, config.l2_block_threshold)
        self._from = tuple(usual if mine is None else mine for mine, usual in zip(own, common, strict=True))
        self._to = common

    def scan(self, question: Question) -> Answer:
        """Reads the windows of a text until the deadline, and weighs them by L2's own thresholds."""
        judged = (self._scanner or self.warm()).scan(
            question.text, is_late=lambda: self._now() > question.deadline
        )
        if self._from == self._to:
            return Answer(judged.findings, complete=judged.complete, risk=judged.risk)
        return Answer(
            [self._weighed(finding) for finding in judged.findings],
            complete=judged.complete,
            risk=self._moved(judged.risk),
        )

    def warm(self) -> SimilarityScanner:
        """Loads numpy and maps the weights, once for all threads."""
        with importing:
            from rune.policy.scanners.similarity import SimilarityScanner  # noqa: PLC0415 - loads numpy

            self._scanner = self._scanner or SimilarityScanner()
            return self._scanner

    def _weighed(self, finding: Finding) -> Finding:
        share = WEIGHTS[finding.severity]
        moved = min(self._moved(finding.weight) / share, 1.0)
        return msgspec.structs.replace(finding, confidence=round(moved, 4))

    def _moved(self, risk: float) -> float:
        """The risk on the common scale, where L2's own thresholds lie upon the common ones."""
        marks = [(0.0, 0.0), *zip(self._from, self._to, strict=True), (1.0, 1.0)]
        for (low, low_to), (high, high_to) in pairwise(marks):
            if risk <= high:
                return low_to + (high_to - low_to) * (risk - low) / max(high - low, 1e-9)
        return risk


def _own_rules(path: str) -> Sequence[Rule]:
    from rune.policy.scanners.rules import load_rules  # noqa: PLC0415 - reads YAML

    return load_rules(path)


def _moved(findings: Sequence[Finding], by: int) -> Iterator[Finding]:
    for finding in findings:
        yield msgspec.structs.replace(finding, start=finding.start + by, end=finding.end + by)


def build_layers(
    config: ShieldConfig, now: Callable[[], float], judge: Judge | None = None
) -> tuple[list[Layer], dict[str, str]]:
    """The layers in the order they run, and for those that were asked for in vain, why.

    Raises FailedPrecondition for a missing layer when `fail_mode` is `closed`.
    """
    layers: list[Layer] = [PatternLayer(config.rules_path, now)] if config.l1_enabled else []
    lacks_l2 = find_spec("numpy") is None
    if config.l2_enabled and not lacks_l2:
        layers.append(SimilarityLayer(config, now))
    if judge is not None and config.l3_mode == "sync":
        layers.append(JudgeLayer(judge))
    asked = {"l2": config.l2_enabled and lacks_l2, "l3": config.l3_enabled and judge is None}
    missing = {name: MISSING[name] for name, wanted in asked.items() if wanted}
    for name, says in missing.items():
        if config.fail_mode == "closed":
            raise FailedPrecondition(f"{says} ({REMEDY[name]}), and fail_mode is closed")
        logger.warning("%s (%s): scans go on without it", says, REMEDY[name])
    if judge is not None and config.l3_mode == "async":
        missing["l3"] = "pending"  # until its verdict comes as an event
    return layers, missing
