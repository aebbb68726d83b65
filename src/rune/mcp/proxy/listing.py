"""What a client is shown of a server: tools that no policy blocks, whose definitions nobody changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rune.errors import FailedPrecondition
from rune.mcp.proxy.messages import Json, items, mapping, text
from rune.policy.action import Action
from rune.shield.context import merged
from rune.shield.results import PolicyDecision, ScanResult
from rune.shield.shield import Shield
from rune.toolbox.definitions import name_of
from rune.toolbox.judge import Suspicion, judge, poisoned
from rune.toolbox.pins import Pins

Say = Callable[[str], None]
MOST_NAMES = 10_000
"""Of tools that are remembered as having been told of."""


class Listing:
    """Filters lists, and knows which tools may not be called because of what was listed."""

    def __init__(self, shield: Shield, pins: Pins, *, context: Mapping[str, Any], say: Say) -> None:
        self._shield, self._pins, self._context, self.say = shield, pins, dict(context), say
        self._waiting: dict[str, str] = {}
        self._stamp: tuple[int, int] | None = None
        self._told: set[tuple[str, str]] = set()

    def why_not(self, tool: str) -> str:
        """Why a tool waits for somebody's word; empty for one that does not. Raises FailedPrecondition."""
        stamp = _stamp(self._pins.path)
        if stamp != self._stamp:
            self._waiting, self._stamp = self._pins.waiting(), stamp
        why = self._waiting.get(tool, "")
        return f"{why}. {self._remedy(tool)}" if why else ""

    def _remedy(self, tool: str) -> str:
        key = self._pins.key
        return f"Look at it with `rune mcp pins show {key}`; `rune mcp pins accept {key} {tool}` lets it pass"

    def greeting(self, result: dict[str, Json]) -> dict[str, Json]:
        """The server's answer to the first request, without instructions that are orders of the wrong
        kind, and under the name that we know it by where they stand there.
        """
        found = poisoned(text(result.get("instructions")))
        if found:
            self._tell("", found[0], is_blocked=True)
            result = {name: value for name, value in result.items() if name != "instructions"}
        found = judge(result.get("serverInfo", {}), others={}, own=())
        if any(one.rule != "no-name" for one in found):
            self._tell("", found[-1], is_blocked=True)
            result = {**result, "serverInfo": {"name": self._pins.name, "version": "0"}}
        return result

    def shown(self, method: str, field: str, result: dict[str, Json]) -> dict[str, Json]:
        """The list without what must not be seen."""
        listed = items(result.get(field))
        try:
            kept = self._tools_kept(listed) if method == "tools/list" else self._kept(listed)
        except FailedPrecondition as error:
            self.say(error.message)
            kept = []
        return {**result, field: kept} if field in result else result

    def _kept(self, listed: list[Json]) -> list[Json]:
        """Prompts and resources: their words are judged, but not pinned."""
        kept: list[Json] = []
        for each in listed:
            found = [one for one in judge(each, others={}, own=()) if one.rule != "no-name"]
            if found:
                self._tell(name_of(each), found[0], is_blocked=True)
            else:
                kept.append(each)
        return kept

    def _tools_kept(self, listed: list[Json]) -> list[Json]:
        definitions = [mapping(each) for each in listed if name_of(each)]
        judged = self._judged(definitions)
        verdicts = self._pins.look(definitions, judged)
        kept: list[Json] = []
        for each in definitions:
            name = name_of(each)
            verdict = verdicts[name]
            if verdict.suspicion is not None:
                self._tell(name, verdict.suspicion, is_blocked=True, is_news=verdict.is_news)
            elif not self._is_blocked(name):
                kept.append(each)
        return kept

    def _is_blocked(self, tool: str) -> bool:
        """The policies in force let no call of it through, whatever its arguments are."""
        where = merged(self._shield.context, self._context)
        action = Action(
            direction="tool_call", tool=tool, agent_id=where.agent_id, tags=where.tags, server=where.server
        )
        return not self._shield.guard.rulebook.evaluator.judge_tool(action).allowed

    def _judged(self, definitions: list[dict[str, Json]]) -> dict[str, Suspicion]:
        """The worst of each tool; what is only worth telling is told at once."""
        others = self._pins.others()
        own = {name_of(each) for each in definitions}
        judged: dict[str, Suspicion] = {}
        for each in definitions:
            for suspicion in judge(each, others=others, own=own):
                if suspicion.blocks:
                    judged.setdefault(name_of(each), suspicion)
                else:
                    self._tell(name_of(each), suspicion, is_blocked=False)
        return judged

    def _tell(self, name: str, found: Suspicion, *, is_blocked: bool, is_news: bool = True) -> None:
        """Once in a session for each reason: on stderr, and to the control plane."""
        if (name, found.rule) in self._told or len(self._told) >= MOST_NAMES:
            return
        self._told.add((name, found.rule))
        what = f"the tool {name!r}" if name else "the server's instructions"
        self.say(f"{what} {'is held back' if is_blocked else 'is let through'}: {found.why}")
        metadata = {"mcp_server": self._pins.name, "kind": found.kind, "news": "true" if is_news else "false"}
        self._shield.report_decision(
            _decision(found, is_blocked=is_blocked), {**self._context, "tool": name}, metadata=metadata
        )


def _decision(found: Suspicion, *, is_blocked: bool) -> PolicyDecision:
    threat = {
        "type": "tool_manipulation", "rule": found.rule, "severity": "critical" if is_blocked else "low",
        "confidence": min(found.risk, 1.0), "layer": "l1",
    }  # fmt: skip
    scan = ScanResult(
        blocked=is_blocked,
        risk_score=found.risk if is_blocked else 0.3,
        threat_type="tool_manipulation",
        explanation=found.why,
        layers_executed=["l1"],
        l1_result="block" if is_blocked else "flag",
        threats_detected=[threat],
    )
    return PolicyDecision(
        allowed=not is_blocked,
        action="block" if is_blocked else "alert",
        rule=f"mcp.{found.kind}",
        severity="critical" if is_blocked else "low",
        explanation=found.why,
        scan_result=scan,
    )


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_ino
