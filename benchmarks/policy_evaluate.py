"""Times `Evaluator.decide` for 1, 10 and 100 rules against a bare dict look-up with fnmatch, in one run."""

from __future__ import annotations

import fnmatch
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from rune.policy.compile import compile as compile_policy
from rune.policy.document import parse
from rune.policy.evaluate import Action, ActivePolicy, Evaluator, Finding, Ledger

ROUNDS = 20_000
KINDS = (
    "{{name: r{n}, type: tool_denylist, tools: [delete_{n}, 'drop_{n}_*']}}",
    "{{name: r{n}, scanner: prompt_injection, min_confidence: 0.6}}",
    "{{name: r{n}, type: argument_match, tool: write_{n}, argument: path, not_matches: '^/workspace/'}}",
    "{{name: r{n}, type: tool_allowlist, tools: ['read_*', 'write_*', search, pay]}}",
    "{{name: r{n}, when: \"tool.name == 'pay' && args.amount > {n}00\", action: require_approval}}",
    "{{name: r{n}, type: rate_limit, max_calls: 1000000, window_seconds: 60, tools: ['send_{n}']}}",
    "{{name: r{n}, type: sequence, steps: [read_secret_{n}, http_post_{n}]}}",
    "{{name: r{n}, type: data_protection, patterns: [ssn, credit_card], direction: output}}",
    "{{name: r{n}, type: flow, from: [web], to: ['tool:send_{n}']}}",
    "{{name: r{n}, type: tool_denylist, tools: [rm_{n}]}}",
)
CALL = Action(
    tool="read_file", arguments={"path": "/workspace/notes.txt", "limit": 100}, agent_id="a", session_id="s"
)


def evaluator(rules: list[str]) -> Evaluator:
    text = 'version: "1.0"\nname: bench\nrules:\n' + "".join(f"  - {rule}\n" for rule in rules)
    return Evaluator([ActivePolicy(policy=compile_policy(parse(text)), policy_id="bench")])


def mixed(count: int) -> Evaluator:
    return evaluator([KINDS[n % len(KINDS)].format(n=n) for n in range(count)])


def microseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Median and 99th percentile of one call."""
    clock = time.perf_counter_ns
    for _ in range(500):
        work()
    taken: list[int] = []
    for _ in range(ROUNDS):
        start = clock()
        work()
        taken.append(clock() - start)
    taken.sort()
    return statistics.median(taken) / 1000, taken[int(len(taken) * 0.99)] / 1000


def bare(count: int) -> Callable[[], object]:
    """What it would cost to ask `count` globs by hand."""
    globs = [f"delete_{n}_*" for n in range(count)]
    known = {"read_file": "allow"}

    def look() -> bool:
        return known[CALL.tool] == "deny" or any(fnmatch.fnmatchcase(CALL.tool, glob) for glob in globs)

    return look


def report(label: str, judge: Evaluator, action: Action, *, peer: float) -> None:
    ledger = Ledger()
    median, p99 = microseconds(lambda: judge.decide(action, ledger=ledger, now=0.0))
    print(f"{label:<44} {median:7.2f} {p99:8.2f} {median / peer:8.2f} x")


def import_milliseconds() -> float:
    probe = (
        "import time; t = time.perf_counter(); import rune.policy.evaluate; print(time.perf_counter() - t)"
    )
    runs = [subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs) * 1000


def main() -> None:
    print(f"{'':<44} {'median':>7} {'p99 µs':>8} {'to bare':>8}")
    for count in (1, 10, 100):
        peer, p99 = microseconds(bare(count))
        print(f"{f'bare dict + {count} fnmatch':<44} {peer:7.2f} {p99:8.2f}")
        report(f"{count} mixed rules", mixed(count), CALL, peer=peer)
    peer, _ = microseconds(bare(1))
    found = Action(
        direction="input", agent_id="a", findings=(Finding(type="prompt_injection", confidence=0.9),)
    )
    report("100 mixed rules, input with a finding", mixed(100), found, peer=peer)
    report("rate limit", evaluator([KINDS[5].format(n=1).replace("send_1", "*")]), CALL, peer=peer)
    report(
        "argument_match (RE2)", evaluator([KINDS[2].format(n=1).replace("write_1", "'*'")]), CALL, peer=peer
    )
    report("when", evaluator(['{name: w, when: "args.limit > 1000 || has(args.force)"}']), CALL, peer=peer)
    report(
        "network_allowlist", evaluator(["{name: n, type: network_allowlist, domains: []}"]), CALL, peer=peer
    )
    hundred = [f"{{name: w{n}, when: 'args.limit > {1000 + n}'}}" for n in range(100)]
    report("100 when rules, all about this call", evaluator(hundred), CALL, peer=peer)
    print(f"import rune.policy.evaluate: {import_milliseconds():.0f} ms")


if __name__ == "__main__":
    main()
