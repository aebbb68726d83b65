"""Short ways to write a policy and judge an action by it."""

from __future__ import annotations

from rune.policy.action import Action, Verdict
from rune.policy.compile import compile as compile_policy
from rune.policy.document import parse
from rune.policy.evaluate import ActivePolicy, Evaluator, Ledger


def active(*rules: str, head: str = "", policy_id: str = "p1") -> ActivePolicy:
    """A policy of rules in YAML's flow form; `head` holds further top-level lines."""
    lines = ['version: "1.0"', *([head] if head else []), "rules:" if rules else "rules: []"]
    text = "\n".join([*lines, *(f"  - {rule}" for rule in rules)])
    return ActivePolicy(policy=compile_policy(parse(text)), policy_id=policy_id)


def judge(*rules: str, head: str = "") -> Evaluator:
    return Evaluator([active(*rules, head=head)])


def call(tool: str, *, session: str = "s1", agent: str = "agent-1", **arguments: object) -> Action:
    return Action(tool=tool, arguments=arguments, agent_id=agent, session_id=session)


class Run:
    """An evaluator with a ledger and a clock that stands still until it is moved."""

    def __init__(self, *rules: str, head: str = "") -> None:
        self.evaluator = judge(*rules, head=head)
        self.ledger = Ledger()
        self.now = 1000.0

    def __call__(self, action: Action) -> Verdict:
        return self.evaluator.decide(action, ledger=self.ledger, now=self.now)
